"""How a streamed network is told the noise level: the same everywhere, pixel by pixel, or cell by cell."""

from typing import Protocol

import torch
from torch import Tensor

from models.images.noise_map import enlarge
from models.inference.transfers import Transfers


class NoiseLevels(Protocol):
    """Gives the noise level planes of any part of an image."""

    def take(self, rows: slice, columns: slice) -> Tensor:
        """Return the levels of a part of the image on the device, (1, P, h, w), for the P noise planes of the network."""


class UniformLevels:
    """The same levels everywhere."""

    def __init__(self, levels: tuple[float, ...], device: torch.device) -> None:
        """Take the level of each noise plane on the [0, 1] scale."""
        self._levels = torch.tensor(levels, device=device).view(1, -1, 1, 1)

    def take(self, rows: slice, columns: slice) -> Tensor:
        """Return the levels of a part of the image, (1, P, h, w)."""
        return self._levels.expand(-1, -1, rows.stop - rows.start, columns.stop - columns.start)


class PixelLevels:
    """A level for each pixel."""

    def __init__(self, levels: Tensor, device: torch.device) -> None:
        """Take a map (1, P, H, W) on the CPU."""
        self._transfers = Transfers(levels, device)

    def take(self, rows: slice, columns: slice) -> Tensor:
        """Return the levels of a part of the image, (1, P, h, w)."""
        return self._transfers.take(rows, columns)


class CellLevels:
    """Levels for each cell of the picture, see `models.images.noise_map`."""

    def __init__(self, cells: Tensor, device: torch.device, top: int, left: int) -> None:
        """Take a map of cells (P, h, w), and the pixels by which the image was extended above and to the left of the picture."""
        self._cells, self._top, self._left = cells.to(device), top, left

    def take(self, rows: slice, columns: slice) -> Tensor:
        """Return the levels of a part of the image, (1, P, h, w)."""
        rows = slice(rows.start - self._top, rows.stop - self._top)
        columns = slice(columns.start - self._left, columns.stop - self._left)
        return enlarge(self._cells, rows, columns)[None]
