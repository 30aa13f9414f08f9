"""Color: conversion to gray as in the paper, and color planes that suit a gray network.

A network for gray images denoises an RGB picture as three planes: luma and two color differences, each with noise of known
strength. The network was trained on gray photographs, and luma looks like one. Luma is also less noisy than any channel,
because the mean of three independent channels has a third of their noise variance. The differences hold little detail, so the
network, told their noise level, smooths them well. `docs/decisions/0006-color.md` compares this with denoising each channel.
"""

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]

GRAY_WEIGHTS = np.array([0.2989, 0.5870, 0.1140])
"""Weights of red, green and blue in the paper's gray images. Pillow's conversion differs by up to one level."""

# Rows: the mean; red minus blue; red and blue minus green. Luma keeps the range [0, 1] of a photograph. The difference rows have
# length one, so white noise keeps its strength in them and is independent between all three planes.
MATRIX = np.array([[1 / 3, 1 / 3, 1 / 3], [0.5**0.5, 0, -(0.5**0.5)], [1 / 6**0.5, -2 / 6**0.5, 1 / 6**0.5]])
NOISE = np.sqrt(np.square(MATRIX).sum(1))
"""Standard deviation of each plane's noise, for noise of standard deviation 1 in every channel."""
OFFSET = np.array([0.0, 0.5, 0.5])  # moves the differences, which are centered on 0, to the middle of [0, 1]
_INVERSE = np.linalg.inv(MATRIX)


def to_gray8(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert 8-bit RGB, (H, W, 3), to 8-bit gray, (H, W): 0.2989 R + 0.5870 G + 0.1140 B, rounded."""
    gray: NDArray[np.uint8] = np.rint(rgb.astype(np.float64) @ GRAY_WEIGHTS).clip(0, 255).astype(np.uint8)
    return gray


def separate(rgb: Planes) -> Planes:
    """Return the luma plane and the two difference planes of a picture.

    Args:
        rgb: (3, H, W), with white at 1.0.

    Returns:
        (3, H, W). Plane i has `NOISE[i]` times the noise of a channel.
    """
    mixed = np.tensordot(MATRIX.astype(np.float32), rgb, axes=1)
    mixed += OFFSET.astype(np.float32)[:, None, None]
    return np.asarray(mixed)


def merge(planes: Planes) -> Planes:
    """Return the RGB picture, (3, H, W), of its luma and difference planes: the inverse of `separate`."""
    return np.asarray(np.tensordot(_INVERSE.astype(np.float32), planes - OFFSET.astype(np.float32)[:, None, None], axes=1))
