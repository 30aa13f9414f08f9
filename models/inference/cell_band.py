"""The cells of an N3 block: where they lie on the image, and the rows of them that are held while the image streams by.

Letters: C planes, n rows, W columns, h x w cells, F = C * stride^2 values of a cell.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from models.inference.blocks import Span
from models.inference.row_stages import RowQueue
from models.networks.n3net import grid_padding


@dataclass(frozen=True)
class CellGrid:
    """The cells that cover an image which is padded with zeros.

    Attributes:
        stride: Pixels along each side of a cell.
        height: Rows of the image.
        width: Columns of the image.
        top: Rows of zeros above the image.
        left: Columns of zeros left of the image.
        h: Rows of cells.
        w: Columns of cells.
    """

    stride: int
    height: int
    width: int
    top: int
    left: int
    h: int
    w: int

    @classmethod
    def cover(
        cls, height: int, width: int, stride: int, padding: tuple[int, int], row_padding: tuple[int, int] | None = None
    ) -> Self:
        """Return the grid of an image.

        Args:
            height: Rows of the image.
            width: Columns of the image.
            stride: Pixels along each side of a cell.
            padding: Columns of zeros on its left and on its right.
            row_padding: Rows of zeros above and below it; None means those of a whole image.
        """
        top, bottom = grid_padding(height, stride) if row_padding is None else row_padding
        left, right = padding
        return cls(stride, height, width, top, left, (height + top + bottom) // stride, (width + left + right) // stride)

    @property
    def patch_pixels(self) -> int:
        """The pixels that each patch contributes to a count of the work: those of one cell, because patches overlap."""
        return self.stride**2

    def whole_rows(self, image_rows: int) -> int:
        """Return how many cell rows the first rows of the image and the zeros around them fill."""
        return self.h if image_rows == self.height else (self.top + image_rows) // self.stride

    def completed(self, rows: Span) -> slice:
        """Return the cell rows that a span of patch rows completes: it covers them, and no later patch does."""
        return slice(rows.start, rows.stop + (rows.stop == self.h - 1))

    def image_rows(self, cells: slice) -> slice:
        """Return the rows of the image that lie in some cell rows, counted in the padded image."""
        return slice(max(cells.start * self.stride, self.top), min(cells.stop * self.stride, self.top + self.height))


class CellBand:
    """The cell rows of a map x, of its embedding and of its log-temperature that an N3 block still needs.

    The values of a cell are ordered (row in the cell, column in the cell, plane), as they lie in channels-last memory.

    Attributes:
        grid: All the cells.
        start: Number of the first cell row that is held.
        stop: One past the number of the last.
        maps: The cells of x, (stop - start, w, F), float32.
        embedded: The cells of the embedding, of the same shape.
        log_temperature: The mean of the log-temperature over each cell, (stop - start, w, 1).
    """

    def __init__(self, grid: CellGrid, device: torch.device) -> None:
        self.grid = grid
        self.start = self.stop = 0
        self.maps = self.embedded = self.log_temperature = torch.empty(0, device=device)
        self._waiting, self._received = RowQueue(), 0

    def put(self, rows: Tensor) -> None:
        """Take further image rows (1, 2 * C + 1, n, W) of x, its embedding and its log-temperature, float32."""
        self._waiting.put(rows)
        self._received += rows.shape[2]

    def fill(self, stop: int) -> bool:
        """Hold the cell rows before `stop` if they have arrived, and tell whether they have.

        Rows that have arrived wait until some are asked for, and then join the band together, because joining copies it.
        """
        whole = self.grid.whole_rows(self._received)
        if self.stop < stop <= whole:
            self._join(whole)
        return stop <= self.stop

    def _join(self, stop: int) -> None:
        grid, count = self.grid, stop - self.stop
        image = grid.image_rows(slice(self.stop, stop))
        pixels = self._waiting.take(image.stop - image.start)[0].permute(1, 2, 0)  # (n, W, 2 * C + 1)
        size = (count * grid.stride, grid.w * grid.stride)
        if pixels.shape[:2] != size:
            pixels = pad(pixels, size, image.start - self.stop * grid.stride, grid.left)
        cells = pixels.unflatten(1, (grid.w, grid.stride)).unflatten(0, (count, grid.stride)).transpose(1, 2)
        planes = pixels.shape[2] // 2
        fresh = (cells[..., :planes], cells[..., planes : 2 * planes], cells[..., 2 * planes :].mean((2, 3)))
        held = (self.maps, self.embedded, self.log_temperature)
        self.maps, self.embedded, self.log_temperature = (
            torch.cat((old, new.flatten(2))) if self.stop > self.start else new.flatten(2)
            for old, new in zip(held, fresh, strict=True)
        )
        self.stop = stop

    def held(self, rows: slice) -> slice:
        """Return the place in the band of the cell rows with these numbers."""
        return slice(rows.start - self.start, rows.stop - self.start)

    def drop(self, start: int) -> None:
        """Release the cell rows before `start`."""
        if (count := start - self.start) > 0:
            self.start = start
            self.maps, self.embedded, self.log_temperature = (
                rows[count:] for rows in (self.maps, self.embedded, self.log_temperature)
            )


def pad(pixels: Tensor, size: tuple[int, int], top: int, left: int) -> Tensor:
    """Return zeros (*size, C) with pixels (n, W, C) in them, without clearing the memory that the pixels overwrite."""
    padded = pixels.new_empty(*size, pixels.shape[2])
    rows, columns = slice(top, top + len(pixels)), slice(left, left + pixels.shape[1])
    padded[rows, columns] = pixels
    padded[: rows.start], padded[rows.stop :] = 0, 0
    padded[:, : columns.start], padded[:, columns.stop :] = 0, 0
    return padded
