"""The N3 block for sets: both forms agree with each other and with a loop over the points."""

from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.neighbors import selection
from models.neighbors.set_block import POSITION_SCALE, SetN3Block
from tests.support.oracle import select

Relaxation = Literal["paper", "code"]
RELAXATIONS = ("paper", "code")


def block_and_points(relaxation: Relaxation, k: int = 3) -> tuple[SetN3Block, Tensor, Tensor]:
    """Return a block whose embeddings are not zero, and the features and the positions of two sets of points."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = SetN3Block(6, 2, 5, 4, k, relaxation)
        # Distances so small that no weight of the code form rounds to 1, where it differs from the exact equations.
        torch.nn.init.normal_(list(block.embed.parameters())[-1], std=0.2)
        return block.double(), torch.randn(2, 11, 6, dtype=torch.float64), 0.1 * torch.rand(2, 11, 2, dtype=torch.float64)


def by_hand(block: SetN3Block, points: Tensor, positions: Tensor) -> NDArray[np.float64]:
    """Compute the block point by point in NumPy; the perceptrons are the block's own."""
    with torch.no_grad():
        embedded, values = block.embed(points).numpy(), block.value(points).numpy()
        temperatures = 0.1 * np.exp(np.clip(block.temperature(points).numpy(), -4, 4))
    scaled = POSITION_SCALE * positions.numpy()
    embedded, values = np.concatenate((embedded, scaled), 2), np.concatenate((values, scaled), 2)
    out = np.empty((len(points), points.shape[1], block.k, values.shape[-1]))
    for i, each in enumerate(embedded):
        for j, query in enumerate(each):
            others = np.delete(np.arange(len(each)), j)
            distances = ((each[others] - query) ** 2).sum(1)
            weights = select(distances, float(temperatures[i, j, 0]), block.k, block.relaxation)
            out[i, j] = weights.T @ values[i, others] - values[i, j]
    return out.reshape(*out.shape[:2], -1)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_both_forms_are_the_equations(relaxation: Relaxation) -> None:
    block, points, positions = block_and_points(relaxation)
    expected = by_hand(block, points, positions)
    np.testing.assert_allclose(block(points, positions).detach().numpy(), expected, atol=1e-8)
    with torch.no_grad():
        np.testing.assert_allclose(block(points, positions).numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_gradients_are_those_of_finite_differences(relaxation: Relaxation) -> None:
    block, points, positions = block_and_points(relaxation)
    few = points[:1, :6].requires_grad_(), positions[:1, :6].requires_grad_()
    assert torch.autograd.gradcheck(block, few, atol=1e-4)


def test_inference_never_has_all_distances_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    block, points, positions = block_and_points("code")
    rows: list[int] = []
    whole = selection.squared_distances

    def counted(queries: Tensor, items: Tensor) -> Tensor:
        rows.append(len(queries))
        return whole(queries, items)

    monkeypatch.setattr(selection, "squared_distances", counted)
    with torch.no_grad():
        once = block(points, positions)
        assert rows == [11, 11]
        block.chunk = 25
        torch.testing.assert_close(block(points, positions), once)
    assert max(rows[2:]) == 2


def test_the_order_of_the_points_does_not_matter() -> None:
    block, points, positions = block_and_points("code")
    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(points[:, order], positions[:, order]), block(points, positions)[:, order])


def test_a_new_block_finds_the_nearest_points() -> None:
    block = SetN3Block(6, 2, 5, 4, 1, "paper")
    torch.nn.init.zeros_(list(block.temperature.parameters())[-2])
    list(block.temperature.parameters())[-1].data.fill_(-4)  # so cold that the selection is hard
    positions = torch.tensor([[[0.0, 0], [0.3, 0], [1, 1], [1, 0.6]]])
    with torch.no_grad():
        moved = block(torch.randn(1, 4, 6), positions)[..., -2:] / POSITION_SCALE
    torch.testing.assert_close(moved, torch.tensor([[[0.3, 0], [-0.3, 0], [0, -0.4], [0, 0.4]]]), atol=1e-4, rtol=0)


def test_a_set_needs_more_points_than_neighbors() -> None:
    block, points, positions = block_and_points("code")
    assert block(points[:, :4], positions[:, :4]).shape == (2, 4, 18)
    with pytest.raises(ValueError, match="more than 3 points, but has 3"):
        block(points[:, :3], positions[:, :3])
