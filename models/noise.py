"""Gaussian noise, the same on every machine for the same seed."""

import torch
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
