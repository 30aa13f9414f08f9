"""Tests of the probability of being among the k nearest neighbors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch import Tensor

from models.neighbors.membership import neighbor_membership


def by_root_finding(distances: list[float], temperature: float, k: int) -> list[float]:
    """Return the memberships of one row, with the threshold from SciPy's root finder."""

    def members(threshold: float) -> list[float]:
        return [1 / (1 + math.exp(-(threshold - distance) / temperature)) for distance in distances]

    reach = 50 * temperature
    threshold = brentq(lambda t: sum(members(t)) - k, min(distances) - reach, max(distances) + reach, xtol=1e-14)
    return members(threshold)


@pytest.mark.parametrize("temperature", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_membership_agrees_with_a_root_finder(temperature: float, k: int) -> None:
    distances = torch.rand(5, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
    expected = [by_root_finding(row, temperature, k) for row in distances.tolist()]
    torch.testing.assert_close(
        neighbor_membership(distances, temperature, k), torch.tensor(expected, dtype=torch.float64), atol=1e-10, rtol=0
    )


@given(
    st.lists(st.floats(-1e3, 1e3, width=32, allow_subnormal=False), min_size=2, max_size=30),
    st.floats(-9, 4, allow_subnormal=False),  # another test in this process may have turned subnormal numbers off
    st.integers(1, 30),
)
def test_memberships_lie_in_0_to_1_and_sum_to_k(distances: list[float], exponent: float, k: int) -> None:
    k = min(k, len(distances))
    members = neighbor_membership(torch.tensor(distances), 10.0**exponent, k)
    assert members.min() >= 0
    assert members.max() <= 1
    assert members.sum().item() == pytest.approx(k, abs=1e-4)
    order = np.argsort(distances, kind="stable")
    assert (members[order].diff() <= 1e-6).all()


@pytest.mark.parametrize("temperature", [1e-8, 1e-20, 1e-30])
def test_low_temperature_gives_the_k_nearest(temperature: float) -> None:
    distances = torch.randn(20, 50, generator=torch.Generator().manual_seed(0)) * 3
    hard = torch.zeros_like(distances).scatter(1, distances.topk(4, largest=False).indices, 1.0)
    assert torch.equal(neighbor_membership(distances, temperature, 4).round(decimals=6), hard)


def test_high_temperature_gives_equal_memberships() -> None:
    members = neighbor_membership(torch.arange(10.0), 1e9, 3)
    torch.testing.assert_close(members, torch.full((10,), 0.3))


def test_tied_candidates_share_their_place() -> None:
    members = neighbor_membership(torch.tensor([0.0, 1.0, 1.0, 5.0]), 1e-4, 2)
    torch.testing.assert_close(members, torch.tensor([1.0, 0.5, 0.5, 0.0]))


def test_masked_candidates_have_membership_zero() -> None:
    distances = torch.tensor([[0.3, math.inf, 0.1, math.inf, 0.2]])
    for temperature in (1e-6, 1.0, 100.0):
        members = neighbor_membership(distances, temperature, 2)
        assert members[0, [1, 3]].abs().max() == 0
        assert members.sum().item() == pytest.approx(2, abs=1e-6)
        torch.testing.assert_close(neighbor_membership(distances, temperature, 3), distances.isfinite().float())


def test_all_candidates_are_members_when_k_is_their_number() -> None:
    assert torch.equal(neighbor_membership(torch.rand(2, 4), 0.1, 4), torch.ones(2, 4))


def test_gradients_match_finite_differences() -> None:
    generator = torch.Generator().manual_seed(3)
    distances = torch.rand(2, 7, dtype=torch.float64, generator=generator, requires_grad=True)
    temperature = torch.rand(2, 1, dtype=torch.float64, generator=generator).add(0.1).requires_grad_()

    def members(distances: Tensor, temperature: Tensor) -> Tensor:
        return neighbor_membership(distances, temperature, 3)

    assert torch.autograd.gradcheck(members, (distances, temperature))


@pytest.mark.parametrize("temperature", [1e-30, 1e-8, 1e-3])
def test_gradients_are_finite_at_low_temperature(temperature: float) -> None:
    distances = torch.randn(10, 40, generator=torch.Generator().manual_seed(1)).requires_grad_()
    members = neighbor_membership(distances, temperature, 3)
    (members * torch.arange(40.0)).sum().backward()
    assert distances.grad is not None
    assert distances.grad.isfinite().all()


@pytest.mark.parametrize("k", [0, 5])
def test_impossible_k_is_rejected(k: int) -> None:
    with pytest.raises(ValueError, match="k must lie between"):
        neighbor_membership(torch.rand(2, 4), 0.1, k)
