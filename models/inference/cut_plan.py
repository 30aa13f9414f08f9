"""How a large image is cut so that denoising it stays within a memory budget: strips of rows, and panels where it is too wide."""

from collections.abc import Iterator
from dataclasses import dataclass

from models.networks.n3net import N3NetConfig, grid_padding

STRIP_PIXELS = 1 << 16
"""Pixels of a strip when memory is no concern: large enough for the cores, small enough for their caches."""
CUDA_STRIP_PIXELS = 1 << 22
"""The same for a GPU: most images are one strip, and each kernel has enough to do."""
BATCH = 8
"""Blocks of queries computed at a time when memory is no concern."""
CUDA_BATCH = 64
"""The same for a GPU."""


@dataclass(frozen=True)
class Panel:
    """Columns of an image that are denoised together.

    Attributes:
        start: First column that is read.
        stop: One past the last column read.
        first: First column of the result that is kept.
        end: One past the last column kept.
        padding: Zeros left and right in the N3 blocks: those of the image's own borders, none where a panel is cut.
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
    """

    padding: tuple[int, int]
    rows: int
    side: int = 8
    batch: int = 8
    fused: bool = False


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
    config: N3NetConfig,
    height: int,
    width: int,
    budget: int,
    *,
    strip_pixels: int = STRIP_PIXELS,
    batch: int = BATCH,
    fused: bool = False,
) -> Plan:
    """Cut an image so that what is held beside its own pixels fits the budget, as far as the smallest cut allows.

    Args:
        config: The network's configuration.
        height: Rows of the image.
        width: Columns.
        budget: Bytes, > 0.
        strip_pixels: Pixels of a strip when the budget allows.
        batch: Blocks of queries computed at a time when the budget allows.
        fused: Whether the N3 blocks are fused (`models.inference.fused_block`): no blocks of queries, but a longer band.
    """
    side, block = 1, 0
    per_row = row_bytes(config) + (fused_row_bytes(config) if fused else 0)
    if not fused:
        for side, most in ((8, batch), (8, BATCH), (8, 1), (4, 1)):
            batch = min(batch, most)
            block = block_bytes(config, side) * batch
            if 2 * block <= budget:
                break
    left = max(budget - block, 1)
    kept = column_bytes(config, side)
    widest = left // (kept + per_row)
    if width <= widest:
        columns, panels = width, [Panel(0, width, 0, width, grid_padding(width, config.stride))]
    else:
        panels = list(cut_panels(config, width, widest))
        columns = max(panel.stop - panel.start for panel in panels)
    affordable = (left - columns * kept) // (columns * per_row)
    rows = max(1, min(strip_pixels // columns, affordable, height))
    return Plan(tuple(panels), rows, max(1, rows // config.stride) if fused else side, batch, fused)


def cut_panels(config: N3NetConfig, width: int, widest: int) -> Iterator[Panel]:
    """Cut columns into panels of at most `widest` columns, where halo and grid allow, that overlap by the halo."""
    stride, halo = config.stride, reach(config)
    left, right = grid_padding(width, stride)
    kept = max(8 * stride, (widest - 2 * halo - 2 * stride) // stride * stride)
    first = 0
    while first < width:
        end = min(width, first + kept)
        # Where a panel is cut it starts and stops on the patch grid of the whole image.
        start = max(0, (first - halo + left) // stride * stride - left)
        stop = min(width, -(-(end + halo + left) // stride) * stride - left)
        yield Panel(start, stop, first, end, (left if start == 0 else 0, right if stop == width else 0))
        first = end


def reach(config: N3NetConfig) -> int:
    """Return how many columns from a cut its influence can reach through the whole network.

    A cut changes what each convolution sees within a pixel, and which patches a window holds: within a whole window where the
    image's own border, on the other side, pushes it this way.
    """
    pixels = config.depth
    for _ in range(config.blocks):
        patches = (pixels + 3) // config.stride + config.window  # patches that hold a changed pixel, and who can see them
        pixels = (patches + 2) * config.stride + config.depth
    return pixels


def row_bytes(config: N3NetConfig) -> int:
    """Return the bytes that a column needs for each row fed at a time: the widest activations, read and written."""
    return 4 * (3 * max(config.features, config.embedding) + 2 * config.planes * (1 + config.k))


def fused_row_bytes(config: N3NetConfig) -> int:
    """Return the bytes that a column needs beside those for each row fed at a time where the N3 blocks are fused."""
    return 4 * config.blocks * (2 * (2 * config.planes + 1) + config.planes * (1 + config.k))


def column_bytes(config: N3NetConfig, side: int) -> int:
    """Return the bytes that a column needs without the rows fed: those that convolutions keep, and the bands of the blocks."""
    kept = 4 * 2 * ((config.blocks + 1) * (config.depth - 1) * config.features + config.blocks * 4 * config.embedding)
    band = 4 * config.stride * (config.window + 2 * side + 2) * (2 * config.planes + 1)
    sums = 4 * config.stride * (side + 1) * config.planes * (2 * config.k + 2)
    return kept + config.blocks * (band + sums)


def block_bytes(config: N3NetConfig, side: int) -> int:
    """Return the bytes that one block of queries needs: its weights, and their sums over cells."""
    queries, query_cells = side**2, (side + 1) ** 2
    items = (config.window + side) ** 2
    values = config.planes * config.stride**2
    sums = 2 * config.k * query_cells * values
    return 4 * (sums + queries * config.window**2 * (config.k + 3) + items * (query_cells * (config.k + 1) + 3 * values))
