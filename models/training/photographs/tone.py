"""Tone curves between light and sRGB. All functions map values in [0, 1] to values in [0, 1], whatever the shape.

The S-curve and its use between the color matrix and sRGB follow Brooks et al., Unprocessing Images for Learned Raw Denoising
(CVPR 2019), Section 3.
"""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]


def to_linear(srgb: Values) -> Values:
    """Undo the sRGB transfer function (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: Values) -> Values:
    """Apply the sRGB transfer function (IEC 61966-2-1)."""
    bright = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, bright).astype(np.float32)


def add_contrast(values: Values) -> Values:
    """Apply the S-curve 3x² - 2x³, which darkens shadows and brightens highlights."""
    return (values * values * (3 - 2 * values)).astype(np.float32)


def remove_contrast(values: Values) -> Values:
    """Undo `add_contrast`."""
    return (0.5 - np.sin(np.arcsin(1 - 2 * values.astype(np.float64)) / 3)).astype(np.float32)
