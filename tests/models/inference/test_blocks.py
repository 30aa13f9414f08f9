"""Tests of the form for whole images, block by block, against the dense form."""

import pytest
import torch

from models.inference.blocks import block_aggregate, block_distances, group_spans, overlap_add, spans
from models.networks.patches import coverage, dense_aggregate, dense_distances, to_cells

STRIDE = 5


@pytest.mark.parametrize("window", [3, 15])
@pytest.mark.parametrize("count", [1, 2, 3, 14, 15, 16, 17, 40])
@pytest.mark.parametrize("block", [1, 4, 8])
def test_spans_hold_each_query_once_with_its_window(count: int, window: int, block: int) -> None:
    queries = []
    for span in spans(count, window, block):
        assert 1 <= span.queries <= block
        for index in range(span.queries):
            first = span.first + index * span.slides
            assert first == max(0, min(span.start + index - window // 2, count - window))
            assert first + span.own()[index] == span.start + index
            assert first + span.window <= span.first + span.items <= count
            queries.append(span.start + index)
    assert queries == list(range(count))


@pytest.mark.parametrize(("p", "q", "window", "side"), [(1, 1, 3, 2), (3, 9, 5, 2), (12, 7, 5, 4), (6, 20, 3, 8)])
def test_blocks_give_what_the_dense_form_gives(p: int, q: int, window: int, side: int) -> None:
    generator = torch.Generator().manual_seed(p * q)
    maps = torch.randn(1, 2, (p + 1) * STRIDE, (q + 1) * STRIDE, generator=generator, dtype=torch.float64)
    grid = to_cells(maps, STRIDE)
    dense = dense_distances(grid)[0]
    everything = torch.zeros(1, 2, p, q, p, q, dtype=torch.float64)
    sums = torch.zeros(2, p + 1, q + 1, grid.shape[-1], dtype=torch.float64)
    for rows in spans(p, window, side):
        band = torch.zeros(2, rows.queries + 1, q + 1, grid.shape[-1], dtype=torch.float64)
        for group in group_spans(spans(q, window, side), 3):
            columns = group.first
            items = group.cut_items(grid[0, rows.item_cells])
            queries = group.cut_queries(grid[0, rows.query_cells])
            distances = block_distances(queries, items, rows, columns)
            weights = torch.rand(group.count, 2, *distances.shape[1:], generator=generator, dtype=torch.float64)
            for b in range(group.count):
                for i in range(rows.queries):
                    for j in range(columns.queries):
                        r, c = rows.start + i, columns.start + b * columns.queries + j
                        top = rows.first + i * rows.slides
                        left = columns.first + (b * columns.queries + j) * columns.slides
                        there = slice(top, top + rows.window), slice(left, left + columns.window)
                        torch.testing.assert_close(distances[b, i, j], dense[r, c][there], atol=1e-9, rtol=1e-9)
                        everything[0, :, r, c, there[0], there[1]] = weights[b, :, i, j]
            part = band[:, :, group.start : group.stop + 1]
            overlap_add(part, block_aggregate(weights, items, rows, columns), group)
        sums[:, rows.query_cells] += band
    down, across = (coverage(count + 1, torch.device("cpu")) for count in (p, q))
    averaged = sums / (down.view(-1, 1, 1) * across.view(-1, 1))
    torch.testing.assert_close(averaged, dense_aggregate(everything, grid)[0], atol=1e-9, rtol=1e-9)
