"""Patch distances and sums of patches for blocks of neighboring queries: the form for whole images.

A block of queries is matched with the region that holds the windows of all its queries, on cells as in `models.networks.patches`.
Blocks of equal shape are computed in one batch.

Letters: B blocks, K neighbors, F values of a cell, w cells of a row, p x q queries of a block, u x v candidates of one query.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from models.networks.patches import OFFSETS, cell_distances, window_start


@dataclass(frozen=True)
class Span:
    """Consecutive queries along one axis, whose windows either coincide (at a border) or move with the query (elsewhere).

    Attributes:
        start: First query.
        stop: One past the last query.
        first: First candidate of the first query.
        window: Number of candidates of each query along this axis.
        slides: Whether the window moves with the query.
    """

    start: int
    stop: int
    first: int
    window: int
    slides: bool

    @property
    def queries(self) -> int:
        """Number of queries."""
        return self.stop - self.start

    @property
    def items(self) -> int:
        """Number of patches that all the windows together contain."""
        return self.window + (self.queries - 1 if self.slides else 0)

    @property
    def query_cells(self) -> slice:
        """The cells that the queries cover along this axis."""
        return slice(self.start, self.stop + 1)

    @property
    def item_cells(self) -> slice:
        """The cells that all the windows together cover along this axis."""
        return slice(self.first, self.first + self.items + 1)

    def own(self) -> list[int]:
        """Return the position of each query in its own window."""
        return [self.start - self.first + (0 if self.slides else index) for index in range(self.queries)]


def spans(count: int, window: int, block: int) -> Iterator[Span]:
    """Cut the `count` patches of one axis into spans of at most `block` queries, in order."""
    window = min(window, count)
    start = 0
    while start < count:
        first = window_start(start, count, window)
        slides = first + 1 == window_start(start + 1, count, window) if start + 1 < count else False
        stop = start + 1
        while stop < count and stop - start < block and window_start(stop, count, window) == first + (stop - start) * slides:
            stop += 1
        yield Span(start, stop, first, window, slides)
        start = stop


@dataclass(frozen=True)
class SpanGroup:
    """Consecutive spans of equal shape, whose blocks are computed in one batch.

    Attributes:
        first: The first span.
        count: Number of spans.
    """

    first: Span
    count: int

    @property
    def start(self) -> int:
        """The first query of the first span."""
        return self.first.start

    @property
    def stop(self) -> int:
        """One past the last query of the last span."""
        return self.first.start + self.count * self.first.queries

    def cut_queries(self, rows: Tensor) -> Tensor:
        """Cut the cells of the queries out of cell rows (n, w, F): (B, n, q + 1, F)."""
        return self._cut(rows, self.first.query_cells)

    def cut_items(self, rows: Tensor) -> Tensor:
        """Cut the cells of all windows out of cell rows (n, w, F): (B, n, items + 1, F)."""
        return self._cut(rows, self.first.item_cells)

    def _cut(self, rows: Tensor, cells: slice) -> Tensor:
        step = self.first.queries
        region = rows[:, cells.start : cells.stop + step * (self.count - 1)]
        return region.unfold(1, cells.stop - cells.start, step).permute(1, 0, 3, 2).contiguous()


def group_spans(consecutive: Iterable[Span], size: int) -> Iterator[SpanGroup]:
    """Group at most `size` consecutive spans of equal shape. A span whose windows coincide forms a group by itself."""
    group: SpanGroup | None = None
    for span in consecutive:
        if group and group.count < size and span.slides and group.first.slides and span.queries == group.first.queries:
            group = SpanGroup(group.first, group.count + 1)
            continue
        if group:
            yield group
        group = SpanGroup(span, 1)
    if group:
        yield group


def block_distances(queries: Tensor, items: Tensor, rows: Span, columns: Span) -> Tensor:
    """Return the squared Euclidean distances of each query to the patches of its own window, (B, p, q, u, v).

    Args:
        queries: (B, p + 1, q + 1, F), the cells of the queries of `rows` x `columns`.
        items: (B, rows.items + 1, columns.items + 1, F), the cells of all their windows.
        rows: The queries along the vertical axis.
        columns: The queries along the horizontal axis.
    """
    batch, values = len(queries), queries.shape[-1]
    grid = cell_distances(queries.reshape(batch, -1, values), items.reshape(batch, -1, values))
    shape = (batch, rows.queries + 1, columns.queries + 1, rows.items + 1, columns.items + 1)
    first, second, third, fourth = windows(grid.view(shape), rows, columns)
    return (first + second).add_(third).add_(fourth)


def block_aggregate(weights: Tensor, items: Tensor, rows: Span, columns: Span) -> Tensor:
    """Return, for each cell, the sum (not the average) of the weighted means of the queries that cover it.

    Args:
        weights: (B, K, p, q, u, v), each query's weights over its window.
        items: (B, rows.items + 1, columns.items + 1, F), the cells of all windows. The products are computed in their dtype.
        rows: The queries along the vertical axis.
        columns: The queries along the horizontal axis.

    Returns:
        (B, K, p + 1, q + 1, F).
    """
    batch, k = weights.shape[:2]
    shape = (batch, k, rows.queries + 1, columns.queries + 1, rows.items + 1, columns.items + 1)
    grid = weights.new_zeros(shape)
    for view in windows(grid, rows, columns):
        view.add_(weights)
    flat = grid.view(batch, k * shape[2] * shape[3], -1).to(items.dtype)  # adding up windows is much slower in bfloat16
    return (flat @ items.reshape(batch, flat.shape[-1], -1)).view(*shape[:4], -1)


def overlap_add(sums: Tensor, blocks: Tensor, group: SpanGroup) -> None:
    """Add the blocks of a group, of which neighbors share a column of cells, to sums.

    Args:
        sums: (K, p + 1, B * q + 1, F), changed in place.
        blocks: (B, K, p + 1, q + 1, F).
        group: The columns of the blocks.
    """
    step = group.first.queries
    along = sums[:, :, : step * group.count].unflatten(2, (group.count, step))  # (K, p + 1, B, q, F)
    blocks = blocks.to(sums.dtype)
    along += blocks[:, :, :, :step].permute(1, 2, 0, 3, 4)
    sums[:, :, step : step * group.count + 1 : step] += blocks[:, :, :, step].permute(1, 2, 0, 3)


def windows(grid: Tensor, rows: Span, columns: Span) -> list[Tensor]:
    """View a contiguous grid of pairs of cells (..., p + 1, q + 1, items + 1, items + 1) as windows (..., p, q, u, v).

    There is one view for each of the four cells of a patch. The entries of one view never share memory, so it can be changed in
    place.
    """
    *lead, a, b, c, d = grid.stride()
    shape = (*grid.shape[:-4], rows.queries, columns.queries, rows.window, columns.window)
    strides = (*lead, a + c * rows.slides, b + d * columns.slides, c, d)
    return [grid.as_strided(shape, strides, grid.storage_offset() + y * (a + c) + x * (b + d)) for y, x in OFFSETS]
