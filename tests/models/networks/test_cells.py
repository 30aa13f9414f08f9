"""Cells against unfolded patches."""

import pytest
import torch
from torch.nn import functional

from models.networks import cells

STRIDE = 5


def unfolded(maps: torch.Tensor) -> torch.Tensor:
    """All 10x10 patches at stride 5 as rows: (B, patches, C * 100)."""
    return functional.unfold(maps, 2 * STRIDE, stride=STRIDE).transpose(1, 2)


def example(h: int, w: int, planes: int = 2) -> torch.Tensor:
    return torch.randn(2, planes, h * STRIDE, w * STRIDE, generator=torch.Generator().manual_seed(h * w), dtype=torch.float64)


def test_cells_and_back() -> None:
    maps = example(3, 4)
    assert torch.equal(cells.from_cells(cells.to_cells(maps, STRIDE), STRIDE), maps)


@pytest.mark.parametrize(("h", "w"), [(2, 2), (4, 7), (9, 5)])
def test_dense_distances_are_patch_distances(h: int, w: int) -> None:
    maps = example(h, w)
    distances = cells.dense_distances(cells.to_cells(maps, STRIDE))
    expected = torch.cdist(unfolded(maps), unfolded(maps)).square()
    torch.testing.assert_close(distances.flatten(3).flatten(1, 2), expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("h", "w"), [(2, 2), (4, 7), (9, 5)])
def test_dense_aggregation_is_unfold_and_fold(h: int, w: int) -> None:
    maps = example(h, w)
    p, q, k = h - 1, w - 1, 3
    weights = torch.rand(2, k, p, q, p, q, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    result = cells.dense_aggregate(weights, cells.to_cells(maps, STRIDE))
    patches = weights.reshape(2, k, p * q, p * q) @ unfolded(maps).unsqueeze(1)  # (B, K, patches, C * 100)
    counts = functional.fold(torch.ones(1, 100, p * q, dtype=torch.float64), maps.shape[-2:], 2 * STRIDE, stride=STRIDE)
    for j in range(k):
        expected = functional.fold(patches[:, j].transpose(1, 2), maps.shape[-2:], 2 * STRIDE, stride=STRIDE) / counts
        torch.testing.assert_close(cells.from_cells(result[:, j], STRIDE), expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("window", [3, 15])
@pytest.mark.parametrize("count", [1, 2, 3, 14, 15, 16, 17, 40])
@pytest.mark.parametrize("block", [1, 4, 8])
def test_spans_hold_each_query_once_with_its_window(count: int, window: int, block: int) -> None:
    queries = []
    for span in cells.spans(count, window, block):
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
    maps = example(p + 1, q + 1)[:1]
    grid = cells.to_cells(maps, STRIDE)
    dense = cells.dense_distances(grid)[0]
    generator = torch.Generator().manual_seed(2)
    everything = torch.zeros(1, 2, p, q, p, q, dtype=torch.float64)
    sums = torch.zeros(2, p + 1, q + 1, grid.shape[-1], dtype=torch.float64)
    for rows in cells.spans(p, window, side):
        band = torch.zeros(2, rows.queries + 1, q + 1, grid.shape[-1], dtype=torch.float64)
        for group in cells.groups(cells.spans(q, window, side), 3):
            columns = group.first
            items = group.items(grid[0, rows.first : rows.first + rows.items + 1])
            queries = group.queries(grid[0, rows.start : rows.stop + 1])
            distances = cells.block_distances(queries, items, rows, columns)
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
            part = band[:, :, columns.start : columns.start + group.count * columns.queries + 1]
            cells.overlap_add(part, cells.block_aggregate(weights, items, rows, columns), group)
        sums[:, rows.start : rows.stop + 1] += band
    down, across = (cells.coverage(count + 1, torch.device("cpu")) for count in (p, q))
    averaged = sums / (down.view(-1, 1, 1) * across.view(-1, 1))
    torch.testing.assert_close(averaged, cells.dense_aggregate(everything, grid)[0], atol=1e-9, rtol=1e-9)


def test_window_mask_matches_the_spans() -> None:
    mask = cells.window_mask(9, 4, 5, torch.device("cpu"))
    for r in range(9):
        for c in range(4):
            top, left = max(0, min(r - 2, 4)), 0
            expected = torch.zeros(9, 4, dtype=torch.bool)
            expected[top : top + 5, left : left + 5] = True
            expected[r, c] = False
            assert torch.equal(mask[r, c], expected)
