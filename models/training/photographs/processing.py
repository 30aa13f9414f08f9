"""What software does to a picture after the sensor: smoothing, sharpening, downscaling and JPEG compression.

Pictures are (3, H, W) with values in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from models.images import color
from models.images.files import through_jpeg

Planes = NDArray[np.float32]

BLOCK = 8
"""Side of a JPEG block in pixels."""


def smooth(picture: Planes, luma: float, chroma: float) -> Planes:
    """Blur luma and the color differences with Gaussians of these standard deviations in pixels, as cameras suppress noise."""
    planes = color.separate(picture)
    deviations = (luma, chroma, chroma)
    return color.merge(
        np.stack([ndimage.gaussian_filter(plane, deviation) for plane, deviation in zip(planes, deviations, strict=True)])
    )


def sharpen(picture: Planes, amount: float, radius: float) -> Planes:
    """Add `amount` times the difference from a Gaussian blur with a standard deviation of `radius` pixels (unsharp masking)."""
    blurred = ndimage.gaussian_filter(picture, (0, radius, radius))
    return np.asarray(np.clip(picture + np.float32(amount) * (picture - blurred), 0, 1))


def downscale(picture: Planes, factor: float) -> Planes:
    """Scale both sides by a factor of at most 1, by antialiased bicubic interpolation."""
    size = tuple(max(1, round(side * factor)) for side in picture.shape[1:])
    scaled = functional.interpolate(torch.from_numpy(picture)[None], size, mode="bicubic", antialias=True, align_corners=False)
    return np.asarray(scaled[0].clamp(0, 1).numpy())


@dataclass(frozen=True)
class Compression:
    """JPEG compression.

    Attributes:
        quality: 1 to 100.
        halved: Whether the color differences have half the resolution (4:2:0).
        offset: Row and column, each less than `BLOCK`, at which the picture begins within a block, as after cropping.
    """

    quality: int
    halved: bool
    offset: tuple[int, int]

    def apply(self, picture: Planes) -> Planes:
        """Compress and decompress a picture, which is rounded to 8 bits."""
        up, left = self.offset
        padded = np.pad(picture, ((0, 0), (up, 0), (left, 0)), mode="edge")
        pixels = np.rint(padded.transpose(1, 2, 0) * 255).astype(np.uint8)
        decoded = through_jpeg(pixels, self.quality, halved=self.halved)[up:, left:]
        return np.ascontiguousarray(decoded.transpose(2, 0, 1), np.float32) / np.float32(255)
