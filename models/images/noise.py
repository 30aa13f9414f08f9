"""Gaussian noise, the same on every machine for the same seed."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def add_noise(clean: Tensor, sigma: float, seed: int) -> Tensor:
    """Add white Gaussian noise, neither clipped nor rounded.

    Args:
        clean: x, (H, W), on the CPU, in [0, 1].
        sigma: Standard deviation on the [0, 1] scale, >= 0.
        seed: Seeds the CPU generator that draws one standard normal number a pixel, in row order.

    Returns:
        y = x + sigma * n, (H, W).
    """
    generator = torch.Generator().manual_seed(seed)
    return clean + sigma * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)


def noisy_planes(clean: NDArray[np.float32], sigma: float, seed: int) -> NDArray[np.float32]:
    """Add noise to the planes of a picture, one after the other from one generator; a single plane gets that of `add_noise`.

    Args:
        clean: (C, H, W).
        sigma: As in `add_noise`.
        seed: As in `add_noise`.
    """
    noisy: NDArray[np.float32] = add_noise(torch.from_numpy(clean), sigma, seed).numpy()
    return noisy
