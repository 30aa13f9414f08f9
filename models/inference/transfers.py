"""The copies of an image to the device and of the result back. On a GPU, they use pinned memory and run while kernels compute.

Letters: C channels, H x W pixels, h x w pixels of a piece.
"""

from typing import Protocol

import torch
from torch import Tensor

from models.images.resize import enlarge_rows

ENLARGED_PIXELS = 1 << 16
"""Pixels of the small image that are enlarged bicubically at a time."""


class ImagePieces(Protocol):
    """An image that is read, and a result that is written, piece by piece."""

    def take(self, rows: slice, columns: slice) -> Tensor:
        """Return a piece of the image on the device, (1, C, h, w)."""

    def give(self, piece: Tensor, row: int, column: int) -> None:
        """Write a piece of the result, (1, C, h, w) on the device, whose first pixel is at this row and column."""


class Transfers:
    """Copies an image to a device piece by piece, and assembles the result on the CPU.

    The CPU runs at most one piece ahead of a GPU, so that the reported progress is true and stopping takes effect soon.
    """

    def __init__(self, images: Tensor, device: torch.device) -> None:
        """Prepare to copy images (1, C, H, W) from the CPU."""
        self._device = device
        self._pinned = device.type == "cuda"
        self._images = images.pin_memory() if self._pinned else images
        self._result: Tensor | None = None  # a map of the noise level is only taken
        self._last: torch.cuda.Event | None = None

    def take(self, rows: slice, columns: slice) -> Tensor:
        """Return a piece of the image on the device, (1, C, h, w).

        Whole rows are copied, because an asynchronous copy needs contiguous memory.
        """
        return self._images[:, :, rows].to(self._device, non_blocking=True)[:, :, :, columns]

    def give(self, piece: Tensor, row: int, column: int) -> None:
        """Write a piece of the result, (1, C, h, w) on the device, whose first pixel is at this row and column."""
        if self._result is None:
            self._result = torch.empty(self._images.shape, dtype=self._images.dtype, pin_memory=self._pinned)
        height, width = piece.shape[2:]
        place = self._result[:, :, row : row + height, column : column + width]
        place.copy_(piece, non_blocking=self._pinned)
        if self._pinned:
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(self._device))
            if self._last:
                self._last.synchronize()
            self._last = event

    def finish(self) -> Tensor:
        """Wait for the last copy, and return the result, (1, C, H, W)."""
        if self._last:
            self._last.synchronize()
        assert self._result is not None
        return self._result


class Enlargement:
    """Copies a small image to a device piece by piece, and adds what a network returns to the bicubically enlarged image.

    The enlarged image is the result itself, so that no second image of its size exists. It is made in pieces that do not depend
    on how the image is cut for the network.
    """

    def __init__(self, image: Tensor, extended: Tensor, top: int, left: int, factor: int, device: torch.device) -> None:
        """Prepare to enlarge an image.

        Args:
            image: (H, W), on the CPU.
            extended: The image that the network sees, (1, 1, H', W'), on the CPU.
            top: Rows by which it extends the image at the top.
            left: Columns by which it extends the image at the left.
            factor: Pixels of the result along each side of a pixel of the image.
            device: The device that computes.
        """
        self._image, self._factor = image[None, None], factor
        self._top, self._left = factor * top, factor * left
        self._transfers = Transfers(extended, device)
        self._result = torch.empty([factor * side for side in image.shape])
        self._enlarged = 0  # rows of the image

    def take(self, rows: slice, columns: slice) -> Tensor:
        """Return a piece of the extended image on the device, (1, 1, h, w)."""
        return self._transfers.take(rows, columns)

    def give(self, piece: Tensor, row: int, column: int) -> None:
        """Add a piece (1, 1, h, w) whose first pixel is at this row and column of the enlarged extended image."""
        (height, width), (rows, columns) = self._result.shape, piece.shape[2:]
        first, end = max(row, self._top), min(row + rows, self._top + height)
        start, stop = max(column, self._left), min(column + columns, self._left + width)
        if first >= end or start >= stop:
            return
        self._enlarge(end - self._top)
        place = self._result[first - self._top : end - self._top, start - self._left : stop - self._left]
        place += piece[0, 0, first - row : end - row, start - column : stop - column].cpu()

    def finish(self) -> Tensor:
        """Return the result, (factor * H, factor * W)."""
        return self._result

    def _enlarge(self, end: int) -> None:
        """Enlarge the image until the rows of the result before `end` are there."""
        height, width = self._image.shape[2:]
        while self._factor * self._enlarged < end:
            start, stop = self._enlarged, min(height, self._enlarged + max(1, ENLARGED_PIXELS // width))
            rows = enlarge_rows(self._image, self._factor, start, stop)
            self._result[self._factor * start : self._factor * stop] = rows[0, 0]
            self._enlarged = stop
