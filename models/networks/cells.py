"""Patch distances and patch aggregation on cells: the exact formulation that makes the N3 block fast.

A patch of two strides by two strides is 2 x 2 cells of one stride by one stride. The distance of two patches is the sum of four
cell distances at the same offset, and averaging overlapping patches is one weighted sum over cells. So there are no patches:
neither an unfolded copy of the map nor a queries x items matrix of 800-value rows, and a quarter of the arithmetic.

Letters: B batch or blocks, K neighbors, F values of a cell, h x w cells, p x q = (h - 1) x (w - 1) patches, u x v candidates of
one query: the window's patches.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

OFFSETS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Where in a patch its four cells lie."""


def to_cells(maps: Tensor, stride: int) -> Tensor:
    """Cut maps (B, C, H, W), sides multiples of the stride, into cells (B, h, w, C * stride^2)."""
    return functional.pixel_unshuffle(maps, stride).permute(0, 2, 3, 1)


def from_cells(cells: Tensor, stride: int) -> Tensor:
    """Put cells (B, h, w, C * stride^2) back together as maps (B, C, H, W)."""
    return functional.pixel_shuffle(cells.permute(0, 3, 1, 2), stride)


def cell_distances(queries: Tensor, items: Tensor) -> Tensor:
    """Return squared Euclidean distances (B, M, N) of cells (B, M, F) and (B, N, F), in the precision of the cells."""
    products = torch.baddbmm(items.square().sum(-1).unsqueeze(-2), queries, items.mT, alpha=-2)
    return products.add_(queries.square().sum(-1, keepdim=True))


# The dense form: every patch is a candidate of every patch. For crops, where it costs little, and for gradients.


def dense_distances(cells: Tensor) -> Tensor:
    """Return the squared distances of all patches, (B, p, q, p, q), from cells (B, h, w, F)."""
    batch, h, w, values = cells.shape
    flat = cells.reshape(batch, h * w, values)
    grid = cell_distances(flat, flat).view(batch, h, w, h, w)
    p, q = h - 1, w - 1
    return sum(grid[:, y : y + p, x : x + q, y : y + p, x : x + q] for y, x in OFFSETS)  # type: ignore[return-value]


def dense_aggregate(weights: Tensor, cells: Tensor) -> Tensor:
    """Average the patches that the weights (B, K, p, q, p, q) select, overlaps averaged too: (B, K, h, w, F).

    The products are computed in the dtype of the cells, the averages returned in that of the weights.
    """
    batch, k, p, q = weights.shape[:4]
    patches = torch.cat([cells[:, y : y + p, x : x + q] for y, x in OFFSETS], -1)  # (B, p, q, 4 F)
    flat = weights.reshape(batch, k * p * q, p * q).to(cells.dtype)
    selected = (flat @ patches.flatten(1, 2)).view(batch, k, p, q, -1)
    summed: Tensor = OverlapAdd.apply(selected, weights.dtype)  # type: ignore[no-untyped-call]
    counts = coverage(p + 1, weights.device).view(-1, 1, 1) * coverage(q + 1, weights.device).view(-1, 1)
    return summed / counts.to(weights)


class OverlapAdd(torch.autograd.Function):
    """The sum, over each cell, of the patches that cover it, without a padded copy for each of a patch's four cells."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, dtype: torch.dtype) -> Tensor:
        """Add up patches (B, K, p, q, 4 F) over cells, (B, K, h, w, F), in the dtype."""
        batch, k, p, q = patches.shape[:4]
        ctx.dtype = patches.dtype
        parts = patches.unflatten(-1, (4, -1))
        summed = patches.new_zeros(batch, k, p + 1, q + 1, parts.shape[-1], dtype=dtype)
        for index, (y, x) in enumerate(OFFSETS):
            summed[:, :, y : y + p, x : x + q] += parts[..., index, :]
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Hand each cell's gradient to the patches that cover it."""
        p, q = gradients[0].shape[2] - 1, gradients[0].shape[3] - 1
        gradient = gradients[0].to(ctx.dtype)
        return torch.cat([gradient[:, :, y : y + p, x : x + q] for y, x in OFFSETS], -1), None


def coverage(count: int, device: torch.device) -> Tensor:
    """Return how many patches cover each of the `count` >= 2 cells along one axis: two, at the ends one."""
    counts = torch.full((count,), 2, device=device)
    counts[0] = counts[-1] = 1
    return counts


def window_mask(p: int, q: int, window: int, device: torch.device) -> Tensor:
    """Return which patches are candidates of which: bool (p, q, p, q), the window pushed inside the image, the query left out."""
    rows, columns = (_inside(count, window, device) for count in (p, q))
    own = torch.eye(p * q, dtype=torch.bool, device=device).view(p, q, p, q)
    return rows[:, None, :, None] & columns[None, :, None, :] & ~own


def _inside(count: int, window: int, device: torch.device) -> Tensor:
    starts = torch.tensor([window_start(index, count, window) for index in range(count)], device=device)[:, None]
    indices = torch.arange(count, device=device)
    return (indices >= starts) & (indices < starts + window)


def window_start(query: int, count: int, window: int) -> int:
    """Return the first candidate along one axis for a query among `count` patches."""
    return max(0, min(query - window // 2, count - window))


# The blocked form: a block of neighboring queries against the region that holds all their windows. For images.


@dataclass(frozen=True)
class Span:
    """Queries along one axis whose windows either all coincide (at a border) or move with the query (inside).

    Attributes:
        start: First query.
        stop: One past the last query.
        first: The first query's first candidate.
        window: Candidates of one query along this axis.
        slides: Whether the window moves with the query.
    """

    start: int
    stop: int
    first: int
    window: int
    slides: bool

    @property
    def queries(self) -> int:
        """How many queries there are."""
        return self.stop - self.start

    @property
    def items(self) -> int:
        """How many patches all the windows cover together."""
        return self.window + (self.queries - 1 if self.slides else 0)

    def own(self) -> list[int]:
        """Where in its window each query stands itself."""
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
    """Spans of equal shape that follow one another, whose blocks are computed in one batch.

    Attributes:
        first: The first of them.
        count: How many there are.
    """

    first: Span
    count: int

    def queries(self, band: Tensor) -> Tensor:
        """Cut the query cells out of a band (rows, w, F): (B, rows, queries + 1, F)."""
        return self._cut(band, self.first.start, self.first.queries + 1)

    def items(self, band: Tensor) -> Tensor:
        """Cut the cells of all windows out of a band (rows, w, F): (B, rows, items + 1, F)."""
        return self._cut(band, self.first.first, self.first.items + 1)

    def _cut(self, band: Tensor, start: int, size: int) -> Tensor:
        step = self.first.queries
        region = band[:, start : start + step * (self.count - 1) + size]
        return region.unfold(1, size, step).permute(1, 0, 3, 2).contiguous()


def groups(along: Iterable[Span], size: int) -> Iterator[SpanGroup]:
    """Group at most `size` consecutive spans of equal shape; a span whose windows do not slide stands alone."""
    group: SpanGroup | None = None
    for span in along:
        if group and group.count < size and span.slides and group.first.slides and span.queries == group.first.queries:
            group = SpanGroup(group.first, group.count + 1)
            continue
        if group:
            yield group
        group = SpanGroup(span, 1)
    if group:
        yield group


def block_distances(queries: Tensor, items: Tensor, rows: Span, columns: Span) -> Tensor:
    """Return the squared distances of each query to its own window, (B, p, q, u, v).

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
    """Sum (not yet average) over each cell the patches that cover it: (B, K, p + 1, q + 1, F).

    Args:
        weights: (B, K, p, q, u, v), each query's weights over its window.
        items: (B, rows.items + 1, columns.items + 1, F); its dtype is that of the products.
        rows: The queries along the vertical axis.
        columns: The queries along the horizontal axis.
    """
    batch, k = weights.shape[:2]
    shape = (batch, k, rows.queries + 1, columns.queries + 1, rows.items + 1, columns.items + 1)
    grid = weights.new_zeros(shape)
    for view in windows(grid, rows, columns):
        view.add_(weights)
    flat = grid.view(batch, k * shape[2] * shape[3], -1).to(items.dtype)  # sums of windows are much slower in bfloat16
    return (flat @ items.reshape(batch, flat.shape[-1], -1)).view(*shape[:4], -1)


def overlap_add(sums: Tensor, blocks: Tensor, group: SpanGroup) -> None:
    """Add blocks (B, K, p + 1, q + 1, F), of which neighbors share a column of cells, to sums (K, p + 1, B * q + 1, F)."""
    step = group.first.queries
    along = sums[:, :, : step * group.count].unflatten(2, (group.count, step))  # (K, p + 1, B, q, F)
    blocks = blocks.to(sums.dtype)
    along += blocks[:, :, :, :step].permute(1, 2, 0, 3, 4)
    sums[:, :, step : step * group.count + 1 : step] += blocks[:, :, :, step].permute(1, 2, 0, 3)


def windows(grid: Tensor, rows: Span, columns: Span) -> list[Tensor]:
    """View a contiguous grid of cells (..., p + 1, q + 1, items + 1, items + 1) as windows (..., p, q, u, v).

    There is one view for each of a patch's four cells. Entries of one view never share memory, so one may add to it in place.
    """
    *lead, a, b, c, d = grid.stride()
    shape = (*grid.shape[:-4], rows.queries, columns.queries, rows.window, columns.window)
    strides = (*lead, a + c * rows.slides, b + d * columns.slides, c, d)
    return [grid.as_strided(shape, strides, grid.storage_offset() + y * (a + c) + x * (b + d)) for y, x in OFFSETS]
