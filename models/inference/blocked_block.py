"""The N3 block as operations of torch on blocks of neighboring queries (`models.inference.blocks`), on any device.

Letters: B blocks, C planes, K neighbors, F values of a cell, h x w cells, p x q queries of a block, u x v candidates of a query.
"""

from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn import functional

from models.inference.blocks import Span, SpanGroup, block_aggregate, block_distances, group_spans, overlap_add, spans
from models.inference.cell_band import CellBand, CellGrid
from models.inference.cut_plan import StripLayout
from models.inference.folding import FoldedBlock
from models.neighbors.selection import inference_weights
from models.networks.n3net import bounded_temperature
from models.networks.patches import coverage


class BlockedDifferences:
    """Computes z_1 - x ... z_K - x for one span of patch rows after another, block of queries by block of queries."""

    rows_above = 0
    """Cell rows above those of the next span that it needs again."""

    def __init__(self, block: FoldedBlock, grid: CellGrid, layout: StripLayout) -> None:
        self._block = block
        self._column_groups = list(group_spans(spans(grid.w - 1, block.config.window, layout.side), layout.batch))
        self._step_pixels = layout.rows * grid.width
        self._row_counts = coverage(grid.h, block.device).view(-1, 1, 1)
        self._column_counts = coverage(grid.w, block.device).view(-1, 1)
        self._above: Tensor | None = None  # sums of the previous span for the first cell row of the next one, (K, w, F)

    def complete(self, band: CellBand, rows: Span) -> Generator[int, None, Tensor]:
        """Find the neighbors of a span of patch rows, and complete the cell rows that no later patch covers.

        A group of columns is completed before the next one begins, while its sums are still in the caches.

        Args:
            band: Holds the cells of all windows of the span.
            rows: The span.

        Yields:
            The number of pixels done after each step.

        Returns:
            The completed rows of the image, (1, K * C, n, W), channels-last.
        """
        config, grid = self._block.config, band.grid
        done = grid.completed(rows)
        size = (1, config.k * config.planes, (done.stop - done.start) * grid.stride, grid.w * grid.stride)
        completed = torch.empty(size, dtype=self._block.dtype, device=band.maps.device, memory_format=torch.channels_last)
        sums = SpanSums(config.k, rows, band, self._above)
        pixels = 0
        for group in self._column_groups:
            if pixels >= self._step_pixels:
                yield pixels
                pixels = 0
            columns = grid_columns(grid, group)
            differences = sums.add(self._neighbors(band, rows, group), group)
            differences.div_((self._row_counts[done] * self._column_counts[columns]).to(differences))
            differences.sub_(band.maps[band.held(done), columns])
            write_pixels(differences, completed[..., columns.start * grid.stride : columns.stop * grid.stride], grid.stride)
            pixels += grid.patch_pixels * rows.queries * (group.stop - group.start)
        self._above = sums.below
        yield pixels
        image, first = grid.image_rows(done), done.start * grid.stride
        return completed[:, :, image.start - first : image.stop - first, grid.left : grid.left + grid.width]

    def _neighbors(self, band: CellBand, rows: Span, group: SpanGroup) -> Tensor:
        """Return what the queries of a group of blocks contribute to the cells that they cover, (B, K, p + 1, q + 1, F)."""
        weights, _ = window_weights(self._block, band, rows, group)
        values = group.cut_items(band.maps[band.held(rows.item_cells)]).to(self._block.dtype)
        return block_aggregate(weights, values, rows, group.first)


def window_weights(block: FoldedBlock, band: CellBand, rows: Span, group: SpanGroup) -> tuple[Tensor, Tensor]:
    """Return the weights of the queries of a group of blocks over their windows, and their temperatures.

    Args:
        block: The N3 block.
        band: Holds the cells of all windows.
        rows: The queries along the vertical axis.
        group: The queries along the horizontal axis.

    Returns:
        The weights (B, K, p, q, u, v), zero for the query itself, and the temperatures (B, p, q).
    """
    config, columns = block.config, group.first
    query_rows, item_rows = band.held(rows.query_cells), band.held(rows.item_cells)
    queries, items = group.cut_queries(band.embedded[query_rows]), group.cut_items(band.embedded[item_rows])
    distances = block_distances(queries, items, rows, columns)
    batch, p, q, u, v = distances.shape
    distances = distances.view(batch, p * q, u * v)
    own = torch.tensor([row * v + column for row in rows.own() for column in columns.own()], device=distances.device)
    distances.scatter_(2, own.view(1, -1, 1).expand(batch, -1, 1), torch.inf)
    cell_means = group.cut_queries(band.log_temperature[query_rows]).squeeze(-1)
    temperature = bounded_temperature(functional.avg_pool2d(cell_means, 2, 1), config)
    weights = inference_weights(
        distances.mul_(block.distance_scale), temperature.view(batch, p * q, 1), config.k, config.relaxation
    )
    return weights.view(batch, -1, p, q, u, v), temperature


class SpanSums:
    """Sums over cells of what the queries of one span of patch rows contribute, from left to right.

    Attributes:
        below: The sums for the last cell row of the span, which the next span continues, (K, w, F).
    """

    def __init__(self, k: int, rows: Span, band: CellBand, above: Tensor | None) -> None:
        self._k, self._rows, self._grid, self._above = k, rows, band.grid, above
        self._beside: Tensor | None = None  # sums of the previous group for the first column of the next one
        self.below = band.maps.new_empty(k, band.grid.w, band.maps.shape[-1])

    def add(self, blocks: Tensor, group: SpanGroup) -> Tensor:
        """Add the blocks (B, K, p + 1, q + 1, F) of the next group; return the sums (K, h, w, F) that no later block changes."""
        sums = self.below.new_zeros(self._k, self._rows.queries + 1, group.stop - group.start + 1, self.below.shape[-1])
        if self._above is not None:
            sums[:, 0] = self._above[:, group.start : group.stop + 1]
        if self._beside is not None:
            sums[:, :, 0] = self._beside  # includes the row above
        overlap_add(sums, blocks, group)
        self._beside = sums[:, :, -1]
        columns, done = grid_columns(self._grid, group), self._grid.completed(self._rows)
        final = sums[:, :, : columns.stop - columns.start]
        self.below[:, columns] = final[:, -1]
        return final[:, : done.stop - done.start]


def grid_columns(grid: CellGrid, group: SpanGroup) -> slice:
    """Return the cell columns that a group of columns completes: it covers them, and no later group does."""
    return slice(group.start, group.stop + (group.stop == grid.w - 1))


def write_pixels(cells: Tensor, pixels: Tensor, stride: int) -> None:
    """Write cells (K, h, w, F) as pixels (1, K * C, h * stride, w * stride), which are channels-last."""
    k, h, w = cells.shape[:3]
    grid = cells.view(k, h, w, stride, stride, -1).permute(1, 3, 2, 4, 0, 5)
    pixels[0].permute(1, 2, 0).unflatten(2, (k, -1)).unflatten(1, (w, stride)).unflatten(0, (h, stride)).copy_(grid)
