"""Gaussian noise, reproducible by its seed on every machine, and the check that a noise level suits a model."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROUNDING = 1e-4
"""Tolerance of the range check, on the 0-255 scale: a sigma that was rounded to float32 must stay in range."""


def in_sigma_range(sigma: float, sigma_range: tuple[float, float]) -> bool:
    """Tell whether a noise level lies in a range, both on the 0-255 scale and up to `ROUNDING`."""
    lowest, highest = sigma_range
    return lowest - ROUNDING <= sigma <= highest + ROUNDING


def check_sigma(sigma: float, sigma_range: tuple[float, float]) -> None:
    """Check a noise level against the range that a model was made for, both on the 0-255 scale.

    Raises:
        ValueError: If sigma is not in the range.
    """
    if not in_sigma_range(sigma, sigma_range):
        lowest, highest = sigma_range
        raise ValueError(f"sigma must lie between {lowest:g} and {highest:g}, but is {sigma:g}")


def add_noise(clean: Tensor, sigma: float, seed: int) -> Tensor:
    """Add white Gaussian noise, neither clipped nor rounded.

    Args:
        clean: x, (H, W), on the CPU, in [0, 1].
        sigma: Standard deviation on the [0, 1] scale, >= 0.
        seed: Seed of the CPU generator that draws one standard normal number per pixel, row by row.

    Returns:
        y = x + sigma * n, (H, W).
    """
    generator = torch.Generator().manual_seed(seed)
    return clean + sigma * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)


def noisy_planes(clean: NDArray[np.float32], sigma: float, seed: int) -> NDArray[np.float32]:
    """Add noise to the planes of a picture, drawn plane by plane from one generator.

    A single plane gets the noise that `add_noise` gives an image.

    Args:
        clean: (C, H, W).
        sigma: Standard deviation on the [0, 1] scale, >= 0.
        seed: Seed of the generator.

    Returns:
        (C, H, W).
    """
    noisy: NDArray[np.float32] = add_noise(torch.from_numpy(clean), sigma, seed).numpy()
    return noisy
