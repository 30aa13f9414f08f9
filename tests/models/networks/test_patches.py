"""Tests of the dense form on cells, against unfolded patches."""

import pytest
import torch
from torch.nn import functional

from models.networks.patches import dense_aggregate, dense_distances, from_cells, to_cells, window_mask

STRIDE = 5


def unfolded(maps: torch.Tensor) -> torch.Tensor:
    """Return all 10x10 patches at stride 5 as rows, (B, patches, C * 100)."""
    return functional.unfold(maps, 2 * STRIDE, stride=STRIDE).transpose(1, 2)


def example(h: int, w: int, planes: int = 2) -> torch.Tensor:
    return torch.randn(2, planes, h * STRIDE, w * STRIDE, generator=torch.Generator().manual_seed(h * w), dtype=torch.float64)


def test_cells_join_to_the_maps_they_were_cut_from() -> None:
    maps = example(3, 4)
    assert torch.equal(from_cells(to_cells(maps, STRIDE), STRIDE), maps)


@pytest.mark.parametrize(("h", "w"), [(2, 2), (4, 7), (9, 5)])
def test_dense_distances_are_patch_distances(h: int, w: int) -> None:
    maps = example(h, w)
    distances = dense_distances(to_cells(maps, STRIDE))
    expected = torch.cdist(unfolded(maps), unfolded(maps)).square()
    torch.testing.assert_close(distances.flatten(3).flatten(1, 2), expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("h", "w"), [(2, 2), (4, 7), (9, 5)])
def test_dense_aggregation_is_unfold_and_fold(h: int, w: int) -> None:
    maps = example(h, w)
    p, q, k = h - 1, w - 1, 3
    weights = torch.rand(2, k, p, q, p, q, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    result = dense_aggregate(weights, to_cells(maps, STRIDE))
    patches = weights.reshape(2, k, p * q, p * q) @ unfolded(maps).unsqueeze(1)  # (B, K, patches, C * 100)
    counts = functional.fold(torch.ones(1, 100, p * q, dtype=torch.float64), maps.shape[-2:], 2 * STRIDE, stride=STRIDE)
    for j in range(k):
        expected = functional.fold(patches[:, j].transpose(1, 2), maps.shape[-2:], 2 * STRIDE, stride=STRIDE) / counts
        torch.testing.assert_close(from_cells(result[:, j], STRIDE), expected, atol=1e-9, rtol=1e-9)


def test_a_window_lies_inside_the_image_and_leaves_out_the_query() -> None:
    mask = window_mask(9, 4, 5, torch.device("cpu"))
    for r in range(9):
        for c in range(4):
            top, left = max(0, min(r - 2, 4)), 0
            expected = torch.zeros(9, 4, dtype=torch.bool)
            expected[top : top + 5, left : left + 5] = True
            expected[r, c] = False
            assert torch.equal(mask[r, c], expected)
