"""Noise level maps of color pictures: the standard deviation of the noise of luma and of the color differences, cell by cell.

A map has shape (2, h, w) and belongs to a picture of H x W pixels with h = ceil(H / CELL) and w = ceil(W / CELL). Its values are
on the [0, 1] scale. Luma and the two differences are those of `models.images.color`; the differences share one level, the
root of their mean variance.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.images.color import MATRIX, NOISE

CELL = 8
"""Side of a cell in pixels."""
WHITE = (float(NOISE[0]), float(NOISE[1]))
"""Levels of luma and of the differences for white noise of standard deviation 1 in every channel."""
BLUR = 1.5
"""Standard deviation in cells of the Gaussian that smooths a measured map."""


def measured_map(noise: Tensor) -> Tensor:
    """Return the levels of known noise, smoothed over neighboring cells.

    Args:
        noise: (B, 3, H, W) with H and W multiples of `CELL`.

    Returns:
        (B, 2, H / CELL, W / CELL).
    """
    variances = cell_variances(noise)
    reach = math.ceil(3 * BLUR)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=noise.device) / BLUR) ** 2)

    def blurred(maps: Tensor) -> Tensor:
        kernel = weights.view(1, 1, -1, 1).expand(2, 1, -1, 1)
        return functional.conv2d(maps, kernel, padding=(reach, 0), groups=2)

    def smoothed(maps: Tensor) -> Tensor:
        return blurred(blurred(maps).transpose(2, 3)).transpose(2, 3)

    return (smoothed(variances) / smoothed(torch.ones_like(variances))).sqrt()


def cell_variances(noise: Tensor) -> Tensor:
    """Return the mean square of noise in each cell.

    Args:
        noise: (B, 3, H, W) with H and W multiples of `CELL`.

    Returns:
        (B, 2, H / CELL, W / CELL), for luma and for the mean of the two differences.
    """
    planes = torch.einsum("pc,bchw->bphw", torch.tensor(MATRIX, dtype=noise.dtype, device=noise.device), noise)
    squares = functional.avg_pool2d(planes.square(), CELL)
    return torch.stack((squares[:, 0], squares[:, 1:].mean(1)), 1)


def enlarge(cells: Tensor, rows: slice, columns: slice) -> Tensor:
    """Return part of a map at the resolution of the picture, interpolated linearly between the centers of the cells.

    The values of a pixel do not depend on the part.

    Args:
        cells: (..., h, w).
        rows: Rows of the picture, with start and stop.
        columns: Columns of the picture, with start and stop.

    Returns:
        (..., rows, columns). Pixels beyond the outermost centers take the value of the nearest cell.
    """
    return _along(_along(cells, rows, -2), columns, -1)


def _along(cells: Tensor, pixels: slice, dim: int) -> Tensor:
    place = (torch.arange(pixels.start, pixels.stop, device=cells.device) + 0.5) / CELL - 0.5
    place = place.clamp(0, cells.shape[dim] - 1)
    first = place.long()
    share = (place - first).view(-1, *[1] * (-1 - dim))
    second = (first + 1).clamp(max=cells.shape[dim] - 1)
    return cells.index_select(dim, first).lerp(cells.index_select(dim, second), share)


def channel_level(levels: Tensor) -> Tensor:
    """Return the noise level of a channel: the root of the mean variance of the three channels.

    Args:
        levels: Levels of luma and of the differences, (2, ...).

    Returns:
        (...).
    """
    # Luma is the mean of three channels, so its variance counts threefold in their sum, and each difference counts once.
    return ((3 * levels[0].square() + 2 * levels[1].square()) / 3).sqrt()
