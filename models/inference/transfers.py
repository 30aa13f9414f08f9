"""An image's way to the device and back: on a GPU in pinned memory, so that copies run beside the kernels."""

import torch
from torch import Tensor


class Transfers:
    """Takes an image to a device piece by piece, and puts the pieces of the result together on the CPU.

    The CPU runs at most one piece ahead of a GPU: so progress tells the truth, and whoever stops waits for little.
    """

    def __init__(self, images: Tensor, device: torch.device) -> None:
        """Prepare for images (1, 1, H, W) on the CPU."""
        self._device = device
        self._pinned = device.type == "cuda"
        self._images = images.pin_memory() if self._pinned else images
        self._result = torch.empty(images.shape, dtype=images.dtype, pin_memory=self._pinned)
        self._last: torch.cuda.Event | None = None

    def take(self, rows: slice, columns: slice) -> Tensor:
        """Return a piece of the image on the device; whole rows travel, one stretch of memory, as asynchronous copies need it."""
        return self._images[:, :, rows].to(self._device, non_blocking=True)[:, :, :, columns]

    def give(self, piece: Tensor, row: int, column: int) -> None:
        """Put a piece of the result, from the device, where it belongs."""
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
        """Return the result, (1, 1, H, W), once it is all there."""
        if self._last:
            self._last.synchronize()
        return self._result
