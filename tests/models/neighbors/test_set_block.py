"""The N3 block for sets: both forms agree with each other and with a loop over the points."""

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from models.neighbors import selection
from models.neighbors.set_block import SetN3Block
from tests.support.oracle import select

RELAXATIONS = ("paper", "code")


def block_and_points(relaxation: Literal["paper", "code"], k: int = 3) -> tuple[SetN3Block, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SetN3Block(6, 5, 4, k, relaxation).double(), torch.randn(2, 11, 6, dtype=torch.float64)


def by_hand(block: SetN3Block, points: Tensor) -> np.ndarray:
    """Compute the block point by point in NumPy; the perceptrons are the block's own."""
    with torch.no_grad():
        embedded, values = block.embed(points).numpy(), block.value(points).numpy()
        temperatures = 0.1 * np.exp(np.clip(block.temperature(points).numpy(), -4, 4))
    out = np.empty((len(points), points.shape[1], block.k, values.shape[-1]))
    for i, each in enumerate(embedded):
        for j, query in enumerate(each):
            others = np.delete(np.arange(len(each)), j)
            distances = ((each[others] - query) ** 2).sum(1)
            weights = select(distances, float(temperatures[i, j, 0]), block.k, block.relaxation)
            out[i, j] = weights.T @ values[i, others] - values[i, j]
    return out.reshape(*out.shape[:2], -1)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_both_forms_are_the_equations(relaxation: Literal["paper", "code"]) -> None:
    block, points = block_and_points(relaxation)
    expected = by_hand(block, points)
    np.testing.assert_allclose(block(points).detach().numpy(), expected, atol=1e-9)
    with torch.no_grad():
        np.testing.assert_allclose(block(points).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_gradients_are_those_of_finite_differences(relaxation: Literal["paper", "code"]) -> None:
    block, points = block_and_points(relaxation)
    assert torch.autograd.gradcheck(block, points[:1, :6].requires_grad_(), atol=1e-4)


def test_inference_never_has_all_distances_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    block, points = block_and_points("code")
    rows: list[int] = []
    whole = selection.squared_distances

    def counted(queries: Tensor, items: Tensor) -> Tensor:
        rows.append(len(queries))
        return whole(queries, items)

    monkeypatch.setattr(selection, "squared_distances", counted)
    with torch.no_grad():
        once = block(points)
        assert rows == [11, 11]
        block.chunk = 25
        torch.testing.assert_close(block(points), once)
    assert max(rows[2:]) == 2


def test_the_order_of_the_points_does_not_matter() -> None:
    block, points = block_and_points("code")
    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(points[:, order]), block(points)[:, order])


def test_a_point_is_not_its_own_neighbor() -> None:
    block, points = block_and_points("paper", k=1)
    with torch.no_grad():
        list(block.temperature.parameters())[-1].fill_(-4)
        assert (block(points).abs().amax(2) > 1e-3).all()


def test_a_set_needs_more_points_than_neighbors() -> None:
    block, points = block_and_points("code")
    assert block(points[:, :4]).shape == (2, 4, 12)
    with pytest.raises(ValueError, match="more than 3 points, but has 3"):
        block(points[:, :3])
