"""Folders of images: grayscale as the paper does it, and the packed training set."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})
LUMA = np.array([0.2989, 0.5870, 0.1140])  # the paper's RGB to gray; Pillow's own differs by up to one level
GRAY_MODES = frozenset({"L", "1"})
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})


def image_files(folder: Path | str) -> list[Path]:
    """List the images directly inside a folder, by name.

    Raises:
        ValueError: If the folder does not exist or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return files


def read_gray8(path: Path | str) -> NDArray[np.uint8]:
    """Read an image as 8-bit gray, (H, W): 0.2989 R + 0.5870 G + 0.1140 B, rounded, for a color one.

    Raises:
        ValueError: If the file is no image that can be read, or deeper than 8 bits a channel (never cut silently).
    """
    try:
        with Image.open(path) as image:
            if image.mode in DEEP_MODES:
                raise ValueError(f"{path} has more than 8 bits a pixel (mode {image.mode})")
            if image.mode in GRAY_MODES:
                return np.asarray(image.convert("L"))
            rgb = np.asarray(image.convert("RGB"), dtype=np.float64)
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    gray: NDArray[np.uint8] = np.rint(rgb @ LUMA).clip(0, 255).astype(np.uint8)
    return gray


def read_gray(path: Path | str) -> Tensor:
    """Read an image as gray, (H, W) float32 in [0, 1]; see `read_gray8`."""
    return torch.from_numpy(read_gray8(path).astype(np.float32) / 255)


class ImageSet:
    """Gray images of any sizes in one flat tensor, so that a batch of augmented crops is one gather, on any device.

    Attributes:
        pixels: Every image's pixels, row by row, one image after the other, uint8.
        heights: (N,) int64.
        widths: (N,) int64.
        starts: (N,) int64, where in `pixels` each image begins.
        smallest: Shortest side of all images.
    """

    def __init__(self, images: Sequence[NDArray[np.uint8]]) -> None:
        """Pack (H, W) images.

        Raises:
            ValueError: If there is no image.
        """
        if not images:
            raise ValueError("there are no images to train on")
        self.pixels = torch.from_numpy(np.concatenate([image.reshape(-1) for image in images]))
        self.heights = torch.tensor([image.shape[0] for image in images])
        self.widths = torch.tensor([image.shape[1] for image in images])
        self.smallest = min(min(image.shape) for image in images)
        sizes = self.heights * self.widths
        self.starts = sizes.cumsum(0) - sizes

    @classmethod
    def read(cls, sources: Sequence[Path | str]) -> Self:
        """Read every image of the folders, or files written by `save`, in order.

        Raises:
            ValueError: If a folder has no image, or a file cannot be read.
        """
        images: list[NDArray[np.uint8]] = []
        for source in map(Path, sources):
            if source.suffix == ".npz":
                images += _unpack(source)
            else:
                images += [read_gray8(path) for path in image_files(source)]
        return cls(images)

    def save(self, path: Path | str) -> None:
        """Write the set as one .npz, which loads at once and travels as one file."""
        np.savez_compressed(
            path, pixels=self.pixels.cpu().numpy(), heights=self.heights.cpu().numpy(), widths=self.widths.cpu().numpy()
        )

    def to(self, device: torch.device) -> Self:
        """Move all pixels to a device, once; crops are then cut there. Returns self."""
        for name in ("pixels", "heights", "widths", "starts"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.starts)

    def crops(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """Draw crops at random, each flipped and rotated by one of the eight symmetries of the square.

        Args:
            count: Crops, B.
            side: Pixels along both sides of a crop, S.
            generator: On the device of the pixels.

        Returns:
            (B, 1, S, S) float32 in [0, 1].

        Raises:
            ValueError: If an image is smaller than a crop.
        """
        if self.smallest < side:
            raise ValueError(f"crops of {side} px do not fit: the smallest image has a side of {self.smallest} px")
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
        return self.pixels[first + rows * width.view(-1, 1, 1) + columns].float().div_(255).unsqueeze(1)


def _unpack(path: Path) -> list[NDArray[np.uint8]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            pixels, heights, widths = file["pixels"], file["heights"], file["widths"]
            pieces = np.split(pixels, np.cumsum(heights * widths)[:-1])
            return [piece.reshape(h, w) for piece, h, w in zip(pieces, heights, widths, strict=True)]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a packed image set: {error}") from error
