"""The training set: gray or color images packed into one tensor, and random crops from it."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.images.files import image_files, read_gray8, read_rgb8
from models.training.recipe import RecipeError


class ImageSet:
    """Images of any sizes in one flat tensor, so that one indexing operation cuts a batch of augmented crops on any device.

    Attributes:
        pixels: The pixels of all images, row by row, one image after the other, (pixels, C) uint8.
        heights: Heights of the images, (N,) int64.
        widths: Widths of the images, (N,) int64.
        starts: Index in `pixels` of each image's first pixel, (N,) int64.
        smallest: Shortest side of all images.
    """

    def __init__(self, images: Sequence[NDArray[np.uint8]]) -> None:
        """Pack images: gray images, each (H, W), or RGB images, each (H, W, 3).

        Raises:
            ValueError: If there is no image, or if there are both gray and RGB images.
        """
        if not images:
            raise ValueError("there are no images to train on")
        if len({image.shape[2:] for image in images}) > 1:
            raise ValueError("the images to train on are partly gray and partly RGB")
        channels = images[0].shape[2] if images[0].ndim > 2 else 1
        self.pixels = torch.from_numpy(np.concatenate([image.reshape(-1, channels) for image in images]))
        self.heights = torch.tensor([image.shape[0] for image in images])
        self.widths = torch.tensor([image.shape[1] for image in images])
        self.smallest = min(min(image.shape[:2]) for image in images)
        sizes = self.heights * self.widths
        self.starts = sizes.cumsum(0) - sizes

    @classmethod
    def read(cls, sources: Sequence[Path | str], channels: int = 1) -> Self:
        """Read all images of folders, and of .npz files written by `save`, in this order.

        Args:
            sources: The folders and files.
            channels: 1 to read the images of folders as gray, 3 to read them as RGB. Files must have been saved that way.

        Raises:
            ValueError: If a folder has no image, or a file cannot be read or holds images with other channels.
        """
        read = read_gray8 if channels == 1 else read_rgb8
        images: list[NDArray[np.uint8]] = []
        for source in map(Path, sources):
            if source.suffix == ".npz":
                images += _unpack(source, channels)
            else:
                images += [read(path) for path in image_files(source)]
        return cls(images)

    def save(self, path: Path | str) -> None:
        """Write the set as one .npz file, which loads faster than a folder and is easy to copy."""
        np.savez_compressed(
            path, pixels=self.pixels.cpu().numpy(), heights=self.heights.cpu().numpy(), widths=self.widths.cpu().numpy()
        )

    def to(self, device: torch.device) -> Self:
        """Move all pixels to a device, where `crops` then works. Return the set itself."""
        for name in ("pixels", "heights", "widths", "starts"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.starts)

    @property
    def channels(self) -> int:
        """Channels of the images, C: 1 for gray, 3 for RGB."""
        return self.pixels.shape[1]

    def crops(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """Draw random crops, each flipped and rotated by a random one of the eight symmetries of the square.

        A crop's symmetry is drawn as three choices: to transpose it, to reverse its rows, to reverse its columns.

        Args:
            count: Number of crops, B.
            side: Side of a crop in pixels, S.
            generator: The source of randomness, on the device of the pixels.

        Returns:
            (B, C, S, S) float32 in [0, 1].

        Raises:
            RecipeError: If an image is smaller than a crop.
        """
        if self.smallest < side:
            raise RecipeError(f"crops of {side} px do not fit: the smallest image has a side of {self.smallest} px", "crop")
        device = self.pixels.device
        image = torch.randint(len(self), (count,), generator=generator, device=device)
        place = torch.rand(2, count, generator=generator, device=device)
        flip_rows, flip_columns, transpose = torch.randint(2, (3, count, 1, 1), generator=generator, device=device).bool()
        height, width = self.heights[image], self.widths[image]
        top = (place[0] * (height - side + 1)).long().clamp(max=height - side)  # rand() * n can round up to n
        left = (place[1] * (width - side + 1)).long().clamp(max=width - side)
        ahead = torch.arange(side, device=device)
        rows, columns = ahead.view(1, side, 1), ahead.view(1, 1, side)
        rows, columns = torch.where(transpose, columns, rows), torch.where(transpose, rows, columns)
        rows = torch.where(flip_rows, side - 1 - rows, rows)
        columns = torch.where(flip_columns, side - 1 - columns, columns)
        first = (self.starts[image] + top * width + left).view(-1, 1, 1)
        crops = self.pixels[first + rows * width.view(-1, 1, 1) + columns]  # (B, S, S, C)
        return crops.permute(0, 3, 1, 2).float().div_(255)


def _unpack(path: Path, channels: int) -> list[NDArray[np.uint8]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            pixels, heights, widths = file["pixels"], file["heights"], file["widths"]
            pieces = np.split(pixels.reshape(len(pixels), -1), np.cumsum(heights * widths)[:-1])
            images = [piece.reshape(h, w, -1) for piece, h, w in zip(pieces, heights, widths, strict=True)]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a packed image set: {error}") from error
    if (held := images[0].shape[2]) != channels:
        kinds = {1: "gray", 3: "RGB"}
        raise ValueError(
            f"the network needs {kinds[channels]} images, but those in {path} are {kinds.get(held, 'of another kind')}"
        )
    return [image[..., 0] for image in images] if channels == 1 else images
