"""The N3 block as one Triton kernel on a GPU: whether it can be used, a trial of it, and its call on a band of cells.

Letters: C planes, K neighbors, n rows, W columns.
"""

import importlib.util
import logging
from collections.abc import Generator
from functools import cache

import torch
from torch import Tensor

from models.inference.blocks import Span
from models.inference.cell_band import CellBand, CellGrid
from models.inference.folding import FoldedBlock
from models.networks.n3net import LOG_TEMPERATURE_OFFSET, N3BlockConfig, grid_padding

MOST_ITEMS = 512
"""Largest number of items (candidates of a tile of queries) that a program can hold in registers."""


def unfused_reason(config: N3BlockConfig, device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why N3 blocks cannot use the fused kernel on this device, or None if they can, provided that a trial succeeds."""
    if device.type != "cuda":
        return "the fused N3 block needs a CUDA device"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if tile_side(config, dtype) is None:
        return f"the fused N3 block has no room for a window of {config.window} patches"
    return None


@cache
def trial_failure(config: N3BlockConfig, device: torch.device, dtype: torch.dtype) -> str | None:
    """Run the fused kernel on a tiny map, and return why that fails, or None if it works.

    Triton compiles the kernel when it is first called. What it accepts depends on its version and on the GPU, and it needs a C
    compiler. A failure is also logged, once. Ask `unfused_reason` first.
    """
    side = config.smallest_map
    band = CellBand(CellGrid.cover(side, side, config.stride, grid_padding(side, config.stride)), device)
    band.put(torch.zeros(1, 2 * config.planes + 1, side, side, device=device))
    band.fill(band.grid.h)
    try:
        fused_differences(config, band, slice(0, band.grid.h), 1.0, dtype).cpu()  # waits for the kernel
    except Exception as error:  # Triton, the C compiler and the driver raise many types
        cause: BaseException = error
        while cause.__cause__ is not None:  # the outer errors of Triton only say in which line of the kernel it happened
            cause = cause.__cause__
        message = next(iter(str(cause).strip().splitlines()), "")
        reason = f"the fused N3 block fails on this device with {type(cause).__name__}: {message}"
        logging.getLogger(__name__).warning("%s; the plain form is used, which is many times slower", reason)
        return reason
    return None


def tile_side(config: N3BlockConfig, dtype: torch.dtype) -> int | None:
    """Return the number of queries of a program along each axis, a power of two, or None if not even the smallest fits."""
    sides = (8, 4) if dtype.itemsize == 2 else (4,)
    return next((side for side in sides if (side - 1 + config.window) ** 2 <= MOST_ITEMS), None)


class FusedDifferences:
    """Computes z_1 - x ... z_K - x for one span of patch rows after another, each with one kernel."""

    rows_above = 1
    """Cell rows above those of the next span that it needs again, for the patches that cover the first cells of a span."""

    def __init__(self, block: FoldedBlock) -> None:
        self._config, self._dtype = block.config, block.dtype
        self._distance_scale = block.distance_scale

    def complete(self, band: CellBand, rows: Span) -> Generator[int, None, Tensor]:
        """Find the neighbors of a span of patch rows, and complete the cell rows that no later patch covers.

        Args:
            band: Holds the cells of all windows of the span, and of the patch row above it.
            rows: The span.

        Yields:
            The number of pixels done.

        Returns:
            The completed rows of the image, (1, K * C, n, W), channels-last.
        """
        completed = fused_differences(self._config, band, band.grid.completed(rows), self._distance_scale, self._dtype)
        yield band.grid.patch_pixels * rows.queries * (band.grid.w - 1)
        return completed


def fused_differences(config: N3BlockConfig, band: CellBand, cells: slice, distance_scale: float, dtype: torch.dtype) -> Tensor:
    """Return z_1 - x ... z_K - x of the rows of the image that lie in some cell rows, computed by one kernel.

    Args:
        config: The geometry of the block.
        band: Holds all cells that the windows of the patches which cover `cells` contain.
        cells: The cell rows to complete.
        distance_scale: Factor of the squared distances.
        dtype: Data type of the averages and of the result. Sums are float32.

    Returns:
        (1, K * C, n, W), channels-last.
    """
    import triton

    from models.inference.triton_kernel import n3_block

    grid = band.grid
    maps, embedded, log_temperature = (part.contiguous() for part in (band.maps, band.embedded, band.log_temperature))
    side = tile_side(config, dtype)
    assert side is not None  # the caller asked `unfused_reason`
    rows = grid.image_rows(cells)
    shape = (1, config.planes * config.k, rows.stop - rows.start, grid.width)
    out = torch.empty(shape, dtype=dtype, device=maps.device, memory_format=torch.channels_last)
    assert max(maps.numel(), out.numel()) < 1 << 31  # the kernel's indices have 32 bits; plans for GPUs stay far below
    tiles = (triton.cdiv(grid.w, side - 1), triton.cdiv(cells.stop - cells.start, side - 1))
    with torch.cuda.device_of(maps):
        n3_block[tiles](
            maps,
            maps.to(dtype),
            embedded,
            log_temperature,
            out,
            band.start,
            grid.h,
            grid.w,
            cells.start,
            cells.stop,
            rows.start,
            rows.stop - rows.start,
            grid.left,
            grid.width,
            distance_scale,
            torch.inf if config.temperature_bound is None else config.temperature_bound,
            LOG_TEMPERATURE_OFFSET,
            **constants(config, side, dtype),
        )
    return out


def constants(config: N3BlockConfig, side: int, dtype: torch.dtype) -> dict[str, int | bool]:
    """Return the constants that the kernel is compiled with; `side` is the number of queries of a program along each axis."""
    items, values = (side - 1 + config.window) ** 2, config.planes * config.stride**2
    # Half precision: 32 values at a time where 64 would mean that more than a third of them are padding.
    block = 64 if -(-values // 64) * 64 <= 1.5 * values else 32
    return {
        "K": config.k,
        "STRIDE": config.stride,
        "PLANES": config.planes,
        "WINDOW": config.window,
        "SIDE": side,
        "N": max(16, 1 << (items - 1).bit_length()),
        "DEPTH": 16,  # products on a GPU need at least 16 values at a time; Triton's interpreter accepts fewer
        "BLOCK": block if dtype.itemsize == 2 else 16,
        "PAPER": config.relaxation == "paper",
        "num_warps": 2 * side,
        "num_stages": 1,
        "enable_fp_fusion": True,
    }
