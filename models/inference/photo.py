"""The method for photographs: a network that is told a noise level map, and the network that estimates this map."""

from collections.abc import Generator
from dataclasses import replace
from math import ceil

import torch
from torch import Tensor

from models.images.noise_map import CELL
from models.inference.denoiser import Denoiser
from models.inference.gray_and_color import equal_channels, three_times
from models.inference.noise_estimator import NoiseEstimator
from models.model_info import ModelInfo
from models.neighbors.neighborhood import NeighborQuery
from models.steps import run_through


class Photo:
    """A denoising method for images (H, W) and (3, H, W), whose noise need not be white.

    The network sees a gray image as an RGB image with equal channels, which have no noise in their differences. An RGB image with
    equal channels is denoised as a gray image.
    """

    def __init__(self, denoiser: Denoiser, estimator: NoiseEstimator) -> None:
        """Join the two networks."""
        assert denoiser.channels == 3
        self.denoiser, self.estimator = denoiser, estimator

    @property
    def can_shrink(self) -> bool:
        """Whether `steps` may be called with `shrink` 2, see `Denoiser.can_shrink`."""
        return self.denoiser.can_shrink

    @property
    def info(self) -> ModelInfo:
        """Facts about the network that denoises."""
        color = self.denoiser.info
        return replace(color, channels=1, color=color)

    def steps(self, noisy: Tensor, sigma: float | Tensor, *, shrink: int = 1) -> Generator[float, None, Tensor]:
        """Denoise an image strip by strip, see `Denoiser.steps`.

        Args:
            noisy: (H, W) or (3, H, W).
            sigma: Standard deviation of white noise, or a noise level map (2, h, w), see `models.images.noise_map`.
            shrink: See `Denoiser.steps`.
        """
        if noisy.ndim > 2 and equal_channels(noisy):
            return three_times(self._gray_steps(noisy[0], sigma, shrink))
        if noisy.ndim > 2:
            return self.denoiser.steps(noisy, sigma, shrink=shrink)
        return self._gray_steps(noisy, sigma, shrink)

    def neighbor_steps(self, noisy: Tensor, sigma: float | Tensor, query: NeighborQuery) -> Generator[float, None, Tensor]:
        """Find the neighbors of a pixel of an image (H, W) or (3, H, W), see `Denoiser.neighbor_steps`."""
        if noisy.ndim > 2 and not equal_channels(noisy):
            return self.denoiser.neighbor_steps(noisy, sigma, query)
        gray = noisy[0] if noisy.ndim > 2 else noisy
        return self.denoiser.neighbor_steps(gray.expand(3, -1, -1), _map(gray, sigma), query)

    def estimate_steps(self, noisy: Tensor) -> Generator[float, None, Tensor]:
        """Estimate the noise level map (2, h, w) of an image (H, W) or (3, H, W); see `NoiseEstimator.steps`."""
        return self.estimator.steps(noisy.expand(3, *noisy.shape[-2:]))

    def denoise(self, noisy: Tensor, sigma: float | Tensor) -> Tensor:
        """Return the denoised image, of the same shape, float32 on the CPU, not clipped."""
        return run_through(self.steps(noisy, sigma))

    def estimate(self, noisy: Tensor) -> Tensor:
        """Return the noise level map (2, h, w) of an image; see `estimate_steps`."""
        return run_through(self.estimate_steps(noisy))

    def _gray_steps(self, noisy: Tensor, sigma: float | Tensor, shrink: int) -> Generator[float, None, Tensor]:
        denoised = yield from self.denoiser.steps(noisy.expand(3, -1, -1), _map(noisy, sigma), shrink=shrink)
        return denoised.mean(0)


def _map(gray: Tensor, sigma: float | Tensor) -> Tensor:
    """Return the noise level map of equal channels, given the map or the level of a gray image."""
    if isinstance(sigma, Tensor):
        return sigma
    cells = [ceil(side / CELL) for side in gray.shape]
    return torch.tensor([sigma, 0.0]).view(2, 1, 1).expand(2, *cells)
