"""Which cells of a picture can show noise. A frame, parts of one color and what alpha hides cannot.

Letters: C channels, H x W pixels, h x w cells of `CELL` x `CELL` pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.images.noise_map import CELL
from service.imaging.picture import Plane, Planes

LEAST_SIDE = 32
"""Smaller pictures do not show enough noise for a map."""

_CLIPPED = 0.03  # closer than this to black or white, noise is cut off
_LEAST_SHARE = 0.2  # a row or column with a smaller share of cells that can show noise may belong to a frame
_LINE = 0.05  # of the side, but at least three cells: the widest line or caption in a frame
_EDGE = 2  # cells beside a frame that count as part of it, because compression mixes the two there


@dataclass(frozen=True, slots=True)
class PictureCells:
    """What can be said about the noise of a picture before it is estimated.

    Attributes:
        shown: Which cells alpha does not hide, (h, w); all if it hides the whole picture.
        visible: Which of them can show noise, (h, w): they are not of one color, and neither black nor white.
        rows: The rows of cells within the frame, or all.
        columns: The columns of cells within the frame, or all.
        kept: Which cells outside these rows and columns have one color, so that there is nothing to denoise, (h, w).
    """

    shown: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    rows: slice
    columns: slice
    kept: NDArray[np.bool_]


def picture_cells(planes: Planes, alpha: Plane | None) -> PictureCells:
    """Look for the noise of a picture.

    The network could take a frame, which has no noise, as a sign that the picture inside has none.

    Args:
        planes: (C, H, W), with black at 0 and white at 1.
        alpha: (H, W), or None.
    """
    starts = [np.arange(0, size, CELL) for size in planes.shape[1:]]
    low, high = (_over_cells(extreme, planes, starts) for extreme in (np.minimum, np.maximum))
    shown = np.ones(low.shape[1:], bool)
    if alpha is not None and alpha.any():
        shown = _over_cells(np.maximum, alpha[None], starts)[0] > 0
    visible = shown & ((low < high) & (high > _CLIPPED) & (low < 1 - _CLIPPED)).any(0)
    rows, columns = (slice(0, size) for size in visible.shape)
    for _ in range(2):  # the sides of a wide frame have a share in its rows, and the other way round
        rows, columns = _extent(visible[:, columns].mean(1)), _extent(visible[rows].mean(0))
    frame = np.ones(visible.shape, bool)
    frame[rows, columns] = False
    return PictureCells(shown, visible, rows, columns, frame & (low == high).all(0))


def _over_cells(extreme: np.ufunc, planes: Planes, starts: list[NDArray[np.int64]]) -> Planes:
    return np.asarray(extreme.reduceat(extreme.reduceat(planes, starts[0], axis=1), starts[1], axis=2))


def _extent(shares: NDArray[np.float64]) -> slice:
    """Return the rows or columns within a frame, or all if hardly any would be left.

    Args:
        shares: The share of cells that can show noise, of each row or column.
    """
    everything = slice(0, len(shares))
    edges = np.flatnonzero(np.diff(shares >= _LEAST_SHARE, prepend=False, append=False))
    runs = [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
    line = max(3, _LINE * len(shares))
    while len(runs) > 1 and runs[0][1] - runs[0][0] <= line:
        runs.pop(0)
    while len(runs) > 1 and runs[-1][1] - runs[-1][0] <= line:
        runs.pop()
    if not runs:
        return everything
    start, stop = runs[0][0], runs[-1][1]
    start += _EDGE * (start > 0)
    stop -= _EDGE * (stop < len(shares))
    return slice(start, stop) if (stop - start) * CELL >= LEAST_SIDE else everything
