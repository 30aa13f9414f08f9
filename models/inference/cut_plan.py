"""How an image is cut so that denoising it stays within a memory budget: strips of rows and, if it is too wide, panels."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from models.inference.footprint import Footprint
from models.networks.n3net import N3BlockConfig, grid_padding

STRIP_PIXELS = 1 << 16
"""Pixels of a strip on a CPU if the budget allows: enough work for the cores, and small enough for their caches."""
CUDA_STRIP_PIXELS = 1 << 22
"""Pixels of a strip on a GPU if the budget allows. Most images are one strip, and each kernel has enough work."""
BATCH = 8
"""Blocks of queries that a CPU computes at a time if the budget allows."""
CUDA_BATCH = 64
"""Blocks of queries that a GPU computes at a time if the budget allows."""
LEAST_WIDTH = 1000
"""Columns of the image that one panel must hold. Panels overlap by hundreds of columns: narrow ones repeat most of the work."""
LEAST_ROWS = 8
"""Rows that the strips of such a panel must have: with fewer, the fixed time of each strip matters."""


@dataclass(frozen=True)
class Panel:
    """Columns of an image that are denoised together.

    Attributes:
        start: First column that is read.
        stop: One past the last column that is read.
        first: First column of the result that is kept.
        end: One past the last column that is kept.
        padding: Columns of zeros left and right in the N3 blocks: those of the image at its borders, none where a panel is cut.
    """

    start: int
    stop: int
    first: int
    end: int
    padding: tuple[int, int]


@dataclass(frozen=True)
class StripLayout:
    """How one panel is computed, strip by strip. The result does not depend on it, except for rounding.

    Attributes:
        padding: Columns of zeros left and right in the N3 blocks, which keep the patches where they lie in the whole image.
        rows: Largest number of rows that a stage is fed at a time.
        side: Queries along each side of a block of queries that share one matrix product.
        batch: Number of such blocks that are computed at a time.
        fused: Whether the N3 blocks run as one kernel (`models.inference.fused_block`), on `side` rows of queries at a time.
        row_padding: Rows of zeros above and below in the N3 blocks; None means those of a whole image. Only a crop whose rows are
            cut too has others.
    """

    padding: tuple[int, int]
    rows: int
    side: int = 8
    batch: int = 8
    fused: bool = False
    row_padding: tuple[int, int] | None = None


@dataclass(frozen=True)
class Plan:
    """How one image is cut.

    Attributes:
        panels: The panels from left to right.
        rows: See `StripLayout`.
        side: See `StripLayout`.
        batch: See `StripLayout`.
        fused: See `StripLayout`.
    """

    panels: tuple[Panel, ...]
    rows: int
    side: int
    batch: int
    fused: bool = False

    def layout(self, panel: Panel) -> StripLayout:
        """Return how a panel is computed."""
        return StripLayout(panel.padding, self.rows, self.side, self.batch, self.fused)


def make_plan(
    footprint: Footprint,
    height: int,
    width: int,
    budget: int,
    *,
    strip_pixels: int = STRIP_PIXELS,
    batch: int = BATCH,
    fused: bool = False,
) -> Plan:
    """Cut an image so that the memory that denoising it takes, in addition to the image, stays within a budget.

    The smallest possible strips and panels are used if even these exceed the budget.

    Args:
        footprint: The demands of the network.
        height: Rows of the image at the network's finest level.
        width: Columns of the image at that level.
        budget: Bytes, > 0.
        strip_pixels: Pixels of a strip if the budget allows.
        batch: Blocks of queries that are computed at a time if the budget allows.
        fused: Whether the N3 blocks are fused (`models.inference.fused_block`). They then need no blocks of queries, but a band
            of more rows.
    """
    side, block, stride = 1, 0, footprint.block.stride
    per_row = footprint.row_bytes + (fused_row_bytes(footprint) if fused else 0)
    if not fused:
        for side, most in ((8, batch), (8, BATCH), (8, 1), (4, 1)):
            batch = min(batch, most)
            block = block_bytes(footprint.block, side) * batch
            if 2 * block <= budget:
                break
    remaining = max(budget - block, 1)
    kept = column_bytes(footprint, side)
    widest = remaining // (kept + per_row)
    if width <= widest:
        columns, panels = width, [Panel(0, width, 0, width, grid_padding(width, stride))]
    else:
        panels = list(cut_panels(footprint, width, widest))
        columns = max(panel.stop - panel.start for panel in panels)
    affordable = (remaining - columns * kept) // (columns * per_row)
    rows = max(1, min(max(strip_pixels // columns, footprint.rows), affordable, height))
    return Plan(tuple(panels), rows, max(1, rows // stride) if fused else side, batch, fused)


def least_budget(footprint: Footprint, *, strip_pixels: int = STRIP_PIXELS, batch: int = BATCH, fused: bool = False) -> int:
    """Return the smallest budget, in bytes but a whole number of MiB, at which denoising does not slow down.

    It is the smallest one with which `make_plan` cuts an image of `LEAST_WIDTH` columns into one panel with strips of at least
    `LEAST_ROWS` rows. See `make_plan` for the arguments.
    """
    columns = -(-LEAST_WIDTH // (footprint.scale * footprint.multiple)) * footprint.multiple

    def suffices(budget: int) -> bool:
        plan = make_plan(footprint, LEAST_ROWS, columns, budget, strip_pixels=strip_pixels, batch=batch, fused=fused)
        return len(plan.panels) == 1 and plan.rows == LEAST_ROWS

    return next(filter(suffices, itertools.count(1 << 20, 1 << 20)))


def cut_panels(footprint: Footprint, width: int, widest: int) -> Iterator[Panel]:
    """Cut columns into overlapping panels of at most `widest` columns, or of the fewest that the halo and the grids allow."""
    halo, step = footprint.reach, panel_step(footprint)
    kept = max(8 * step, (widest - 2 * halo - 2 * step) // step * step)
    for first in range(0, width, kept):
        yield cut_panel(footprint, width, first, min(width, first + kept), halo)


def cut_panel(footprint: Footprint, length: int, first: int, end: int, halo: int) -> Panel:
    """Return the panel that keeps the pixels from `first` to `end` of an axis and reads at least `halo` more on either side."""
    stride = footprint.block.stride
    before, after = grid_padding(length, stride)

    def on_grids(pixel: int) -> bool:
        """Tell whether patches of the whole image, and pixels of all levels, begin at a pixel."""
        return (pixel + before) % stride == 0 and pixel % footprint.multiple == 0

    start = next((pixel for pixel in range(first - halo, 0, -1) if on_grids(pixel)), 0)
    stop = next((pixel for pixel in range(end + halo, length) if on_grids(pixel)), length)
    return Panel(start, stop, first, end, (before if start == 0 else 0, after if stop == length else 0))


def panel_step(footprint: Footprint) -> int:
    """Return how far apart the pixels are at which an axis can be cut."""
    return math.lcm(footprint.block.stride, footprint.multiple)


def fused_row_bytes(footprint: Footprint) -> int:
    """Return the bytes per column that fused N3 blocks need in addition, for each row that is fed at a time."""
    block = footprint.block
    return 4 * footprint.blocks * (2 * (2 * block.planes + 1) + block.planes * (1 + block.k))


def column_bytes(footprint: Footprint, side: int) -> int:
    """Return the bytes per column that do not depend on the rows fed: rows that convolutions keep, and bands of N3 blocks."""
    block = footprint.block
    band = 4 * block.stride * (block.window + 2 * side + 2) * (2 * block.planes + 1)
    sums = 4 * block.stride * (side + 1) * block.planes * (2 * block.k + 2)
    return footprint.kept_bytes + footprint.blocks * (band + sums)


def block_bytes(config: N3BlockConfig, side: int) -> int:
    """Return the bytes of one block of queries: its cells, its distances and weights, and its sums over cells."""
    queries, query_cells = side**2, (side + 1) ** 2
    items = (config.window + side) ** 2
    values = config.planes * config.stride**2
    sums = 2 * config.k * query_cells * values
    return 4 * (sums + queries * config.window**2 * (config.k + 3) + items * (query_cells * (config.k + 1) + 3 * values))
