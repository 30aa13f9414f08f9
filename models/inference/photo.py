"""The method for photographs: a network that is told a noise level map, and the network that estimates this map."""

from collections.abc import Generator
from dataclasses import replace
from math import ceil

import torch
from torch import Tensor

from models.images.noise_map import CELL
from models.inference.denoiser import Denoiser
from models.inference.noise_estimator import NoiseEstimator
from models.model_info import ModelInfo
from models.neighbors.neighborhood import NeighborQuery
from models.steps import run_through


class Photo:
    """A denoising method for images (H, W) and (3, H, W), whose noise need not be white.

    A gray image is denoised as an RGB image with equal channels.
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
        steps = self.denoiser.steps(*_in_color(noisy, sigma), shrink=shrink)
        return steps if noisy.ndim > 2 else self._gray_steps(steps)

    def neighbor_steps(self, noisy: Tensor, sigma: float | Tensor, query: NeighborQuery) -> Generator[float, None, Tensor]:
        """Find the neighbors of a pixel of an image (H, W) or (3, H, W), see `Denoiser.neighbor_steps`."""
        return self.denoiser.neighbor_steps(*_in_color(noisy, sigma), query)

    def estimate_steps(self, noisy: Tensor) -> Generator[float, None, Tensor]:
        """Estimate the noise level map (2, h, w) of an image (H, W) or (3, H, W); see `NoiseEstimator.steps`."""
        return self.estimator.steps(noisy.expand(3, *noisy.shape[-2:]))

    def denoise(self, noisy: Tensor, sigma: float | Tensor) -> Tensor:
        """Return the denoised image, of the same shape, float32 on the CPU, not clipped."""
        return run_through(self.steps(noisy, sigma))

    def estimate(self, noisy: Tensor) -> Tensor:
        """Return the noise level map (2, h, w) of an image; see `estimate_steps`."""
        return run_through(self.estimate_steps(noisy))

    def _gray_steps(self, steps: Generator[float, None, Tensor]) -> Generator[float, None, Tensor]:
        denoised = yield from steps
        return denoised.mean(0)


def _in_color(noisy: Tensor, sigma: float | Tensor) -> tuple[Tensor, float | Tensor]:
    """Return an image with three channels and its noise level, given one with one or three."""
    if noisy.ndim > 2:
        return noisy, sigma
    if not isinstance(sigma, Tensor):
        # Equal channels have no noise in their differences.
        cells = [ceil(side / CELL) for side in noisy.shape]
        sigma = torch.tensor([sigma, 0.0]).view(2, 1, 1).expand(2, *cells)
    return noisy.expand(3, -1, -1), sigma
