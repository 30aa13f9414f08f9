"""The copies of an image to the device and of the result back. On a GPU, they use pinned memory and run while kernels compute."""

from typing import Protocol

import torch
from torch import Tensor


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
