"""Computed pictures: flat parts, edges and repeating textures, without any file or image library."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.training.image_set import ImageSet


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Return a clean picture, (H, W) float32 in [0, 1]."""
    return torch.from_numpy(_pixels(height, width, seed)).float().div_(255)


def image_set() -> ImageSet:
    """Return eight gray pictures of 144 x 160 pixels to train on."""
    return ImageSet([_pixels(144, 160, seed) for seed in range(8)])


def _pixels(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[:height, :width]
    a, b, c, d = rng.uniform(0.02, 0.3, 4)
    edges, waves = np.sign(np.sin(a * x + b * y)), np.sin(c * x) * np.cos(d * y)
    pixels: NDArray[np.uint8] = (128 + 60 * edges + 50 * waves).clip(0, 255).astype(np.uint8)
    return pixels
