"""The sensor of a camera: its color response, its noise, and the mosaic of its color filters."""

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Planes = NDArray[np.float32]
Demosaicking = Literal["bilinear", "gradient"]

LUMA = np.array([0.2126, 0.7152, 0.0722])
"""Weights of linear red, green and blue in the luminance of sRGB."""

_SHOT = (1e-4, 1.2e-2)  # lowest and highest shot noise of Brooks et al. (2019)
_READ = (2.18, 1.20, 0.26)  # slope, offset and spread of log read noise over log shot noise, from the same source


@dataclass(frozen=True)
class ColorResponse:
    """How the linear colors of sRGB become the values of a sensor, and back.

    The color matrix of a camera makes colors more saturated, because the filters of the sensor overlap. Rows of the matrix sum
    to 1, so gray stays gray.

    Attributes:
        saturation: Strength of the matrix (1 + s) I - s 1 wᵀ with the luminance weights w, at least 0.
        gains: Gains of the white balance for red, green and blue; the one for green is 1.
        exposure: Factor on the light that reaches the sensor; the camera divides by it afterwards.
    """

    saturation: float
    gains: tuple[float, float, float]
    exposure: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draw a random response."""
        gains = (float(rng.uniform(1.4, 2.6)), 1.0, float(rng.uniform(1.3, 2.4)))
        return cls(float(rng.uniform(0.0, 0.8)), gains, float(rng.uniform(0.4, 1.0)))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The matrix from sensor values with white balance to linear sRGB, (3, 3)."""
        return (1 + self.saturation) * np.eye(3) - self.saturation * np.outer(np.ones(3), LUMA)

    def to_sensor(self, linear: Planes) -> Planes:
        """Map linear sRGB (3, H, W) to sensor values."""
        mix = np.diag(self.exposure / np.array(self.gains)) @ np.linalg.inv(self.matrix)
        return np.tensordot(mix.astype(np.float32), linear, axes=1)

    def to_srgb_linear(self, sensor: Planes) -> Planes:
        """Map sensor values (3, H, W) to linear sRGB: the inverse of `to_sensor`."""
        mix = self.matrix @ np.diag(np.array(self.gains) / self.exposure)
        return np.tensordot(mix.astype(np.float32), sensor, axes=1)


@dataclass(frozen=True)
class SensorNoise:
    """Shot and read noise: the variance of a value x is `shot` * x + `read`."""

    shot: float
    read: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draw noise from the distribution of Brooks et al. (2019), which they fitted to the Darmstadt Noise Dataset."""
        low, high = (math.log(bound) for bound in _SHOT)
        slope, offset, spread = _READ
        shot = rng.uniform(low, high)
        return cls(math.exp(shot), math.exp(rng.normal(slope * shot + offset, spread)))

    def add(self, sensor: Planes, rng: np.random.Generator) -> Planes:
        """Add independent noise to each value. Shot noise is nearly Gaussian at the light levels of photographs."""
        deviation = np.sqrt(self.shot * np.maximum(sensor, 0) + self.read)
        return (sensor + deviation * rng.standard_normal(sensor.shape, np.float32)).astype(np.float32)


def mosaic(planes: Planes, corner: tuple[int, int]) -> Planes:
    """Keep one color per pixel, in a Bayer pattern.

    Args:
        planes: (3, H, W).
        corner: Row and column, 0 or 1 each, of a red pixel in the first 2 x 2 pixels.

    Returns:
        (H, W).
    """
    red, green, blue = _masks(planes.shape[1:], corner)
    return np.asarray(planes[0] * red + planes[1] * green + planes[2] * blue)


def demosaic(raw: Planes, corner: tuple[int, int], method: Demosaicking) -> Planes:
    """Estimate the two missing colors of each pixel.

    Args:
        raw: (H, W), see `mosaic`.
        corner: See `mosaic`.
        method: "bilinear" averages the neighbors of the same color; "gradient" corrects this average by the Laplacian of
            the known color (Malvar, He and Cutler, ICASSP 2004).

    Returns:
        (3, H, W).
    """
    red, green, blue = masks = _masks(raw.shape, corner)
    if method == "bilinear":
        sides, corners = _CROSS, _SQUARE
        kernels = (corners, sides, corners)
        return np.stack([ndimage.convolve(raw * mask, kernel) for mask, kernel in zip(masks, kernels, strict=True)])
    at_green, across, down, diagonal = (ndimage.correlate(raw, kernel) for kernel in _GRADIENT)
    red_rows = (np.arange(raw.shape[0]) % 2 == corner[0])[:, None]
    beside_red, below_red = green * red_rows, green * ~red_rows
    return np.stack(
        [
            raw * red + across * beside_red + down * below_red + diagonal * blue,
            raw * green + at_green * (red + blue),
            raw * blue + across * below_red + down * beside_red + diagonal * red,
        ]
    )


def _masks(shape: tuple[int, ...], corner: tuple[int, int]) -> tuple[Planes, Planes, Planes]:
    rows, columns = ((np.arange(side) + place) % 2 == 0 for side, place in zip(shape, corner, strict=True))
    red, blue = np.outer(rows, columns).astype(np.float32), np.outer(~rows, ~columns).astype(np.float32)
    return red, 1 - red - blue, blue


_CROSS = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 4
_SQUARE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4
_ACROSS: list[list[float]] = [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
_AT_GREEN: list[list[float]] = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
_DIAGONAL: list[list[float]] = [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
_GRADIENT = [np.array(kernel, np.float32) / 8 for kernel in (_AT_GREEN, _ACROSS, np.array(_ACROSS).T, _DIAGONAL)]
"""The kernels of Malvar, He and Cutler, applied to the mosaic: green at red or blue; the color of the same row, then that of the
same column, at green; red at blue or blue at red."""
