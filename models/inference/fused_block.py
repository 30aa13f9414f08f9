"""The fused N3 block: whether it can be used, and the call of the Triton kernel on a band of cells."""

import importlib.util

import torch
from torch import Tensor

from models.networks.n3net import LOG_TEMPERATURE_OFFSET, N3NetConfig

MOST_ITEMS = 512
"""Candidates of a tile of queries that a program can hold in registers."""


def unfused_reason(config: N3NetConfig, device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why N3 blocks go the plain way on this device, or None where the fused kernel runs."""
    if device.type != "cuda":
        return "the fused N3 block needs a CUDA device"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if tile_side(config, dtype) is None:
        return f"the fused N3 block has no room for a window of {config.window} patches"
    return None


def tile_side(config: N3NetConfig, dtype: torch.dtype) -> int | None:
    """Return the queries of a program along each axis, a power of two: as many as registers and shared memory hold."""
    sides = (8, 4) if dtype.itemsize == 2 else (4,)
    return next((side for side in sides if (side - 1 + config.window) ** 2 <= MOST_ITEMS), None)


def fused_differences(
    config: N3NetConfig,
    band: tuple[Tensor, Tensor, Tensor],
    base: int,
    cell_rows: slice,
    pixel_rows: slice,
    size: tuple[int, int],
    columns: tuple[int, int],
    distance_scale: float,
    dtype: torch.dtype,
) -> Tensor:
    """Return z_1 - x ... z_K - x of some rows, as `models.inference.stream.N3Stage` finishes them, from one kernel.

    Args:
        config: The network's configuration.
        band: The cells of x and of its embedding (rows, w, F), and the cell means of the log-temperature (rows, w, 1), float32,
            with all that the windows of the patches which cover `cell_rows` reach.
        base: Number of the band's first cell row.
        cell_rows: Those to finish.
        pixel_rows: The rows of the padded map to return, all of them in `cell_rows`.
        size: Cells of the whole padded map (h, w).
        columns: First column of the image in the padded map, and how many there are.
        distance_scale: What distances are multiplied by.
        dtype: In which the averages are computed and returned; sums are float32.

    Returns:
        (1, K * C, n, W), channels-last.
    """
    import triton

    from models.inference.triton_kernel import n3_block

    maps, embedded, log_temperature = (part.contiguous() for part in band)
    (h, w), (left, width) = size, columns
    side = tile_side(config, dtype)
    assert side is not None  # the caller asked `unfused_reason`
    count = pixel_rows.stop - pixel_rows.start
    shape = (1, config.planes * config.k, count, width)
    out = torch.empty(shape, dtype=dtype, device=maps.device, memory_format=torch.channels_last)
    assert max(maps.numel(), out.numel()) < 1 << 31  # the kernel counts in 32 bits; no plan for a GPU comes near
    tiles = (triton.cdiv(w, side - 1), triton.cdiv(cell_rows.stop - cell_rows.start, side - 1))
    with torch.cuda.device_of(maps):
        n3_block[tiles](
            maps,
            maps.to(dtype),
            embedded,
            log_temperature,
            out,
            base,
            h,
            w,
            cell_rows.start,
            cell_rows.stop,
            pixel_rows.start,
            count,
            left,
            width,
            distance_scale,
            torch.inf if config.temperature_bound is None else config.temperature_bound,
            LOG_TEMPERATURE_OFFSET,
            **constants(config, side, dtype),
        )
    return out


def constants(config: N3NetConfig, side: int, dtype: torch.dtype) -> dict[str, int | bool]:
    """Return what the kernel is compiled for."""
    items = (side - 1 + config.window) ** 2
    return {
        "K": config.k,
        "STRIDE": config.stride,
        "PLANES": config.planes,
        "WINDOW": config.window,
        "SIDE": side,
        "N": max(16, 1 << (items - 1).bit_length()),
        "DEPTH": 8,
        "BLOCK": 64 if dtype.itemsize == 2 else 16,
        "PAPER": config.relaxation == "paper",
        "num_warps": 2 * side,
        "num_stages": 1,
        "enable_fp_fusion": True,
    }
