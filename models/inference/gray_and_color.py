"""Two networks of one kind under one name: one for gray images, and one that denoises the channels of RGB images together."""

from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor

from models.inference.denoiser import Denoiser
from models.model_info import ModelInfo
from models.neighbors.neighborhood import NeighborQuery
from models.steps import run_through


class GrayAndColor:
    """A denoising method for images (H, W) and (3, H, W).

    An RGB image with equal channels is a gray image: its channels have the same noise, and the network for RGB images expects
    independent noise. The network for gray images denoises it.
    """

    def __init__(self, gray: Denoiser, color: Denoiser) -> None:
        """Join a network for gray images and one for RGB images."""
        assert (gray.channels, color.channels) == (1, 3)
        self.gray, self.color = gray, color

    @property
    def can_shrink(self) -> bool:
        """Whether `steps` may be called with `shrink` 2, see `Denoiser.can_shrink`."""
        return self.gray.can_shrink and self.color.can_shrink

    @property
    def info(self) -> ModelInfo:
        """Facts about the network for gray images; its `color` has those about the network for RGB images."""
        return replace(self.gray.info, color=self.color.info)

    def steps(self, noisy: Tensor, sigma: float | Tensor, *, shrink: int = 1) -> Generator[float, None, Tensor]:
        """Denoise an image as `Denoiser.steps` does, with the network that its channels ask for."""
        if noisy.ndim > 2 and not equal_channels(noisy):
            return self.color.steps(noisy, sigma, shrink=shrink)
        if noisy.ndim > 2:
            return three_times(self.gray.steps(noisy[0], sigma, shrink=shrink))
        return self.gray.steps(noisy, sigma, shrink=shrink)

    def neighbor_steps(self, noisy: Tensor, sigma: float | Tensor, query: NeighborQuery) -> Generator[float, None, Tensor]:
        """Find the neighbors of a pixel of an image as `Denoiser.neighbor_steps` does, with the network for its channels."""
        if noisy.ndim > 2 and not equal_channels(noisy):
            return self.color.neighbor_steps(noisy, sigma, query)
        return self.gray.neighbor_steps(noisy[0] if noisy.ndim > 2 else noisy, sigma, query)

    def denoise(self, noisy: Tensor, sigma: float | Tensor) -> Tensor:
        """Return the denoised image, of the same shape, float32 on the CPU, not clipped."""
        return run_through(self.steps(noisy, sigma))


def three_times(steps: Generator[float, None, Tensor]) -> Generator[float, None, Tensor]:
    """Return the image that the steps return as three equal channels."""
    return (yield from steps).expand(3, -1, -1).contiguous()


def equal_channels(image: Tensor) -> bool:
    """Tell whether the channels of an image (3, H, W) are equal."""
    return torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
