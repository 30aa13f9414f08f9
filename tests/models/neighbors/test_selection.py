"""Tests of the relaxed selection: against a float64 loop, and its properties at any temperature."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.neighbors.selection import Relaxation, inference_weights, neighbor_weights, normal_exp, select_neighbors
from tests.support import oracle

FORMS: tuple[Relaxation, ...] = ("paper", "code")


@pytest.mark.parametrize("relaxation", FORMS)
@pytest.mark.parametrize("temperature", [0.05, 0.3, 2.0, 100.0])
def test_weights_agree_with_the_oracle(relaxation: Relaxation, temperature: float) -> None:
    distances = torch.rand(2, 3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = neighbor_weights(distances, temperature, 4, relaxation)
    for batch in range(2):
        for query in range(3):
            expected = oracle.select(distances[batch, query].numpy(), temperature, 4, relaxation)
            np.testing.assert_allclose(weights[batch, query], expected, atol=1e-12)


@pytest.mark.parametrize("relaxation", FORMS)
def test_3000_points_sum_to_one_at_every_temperature(relaxation: Relaxation) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.arange(3000, dtype=torch.float64) + 1e-4 * torch.randn(3000, generator=generator, dtype=torch.float64)
    some = torch.arange(100, 2900, 40)
    distances = (points[some, None] - points).square().float()[None]
    for exponent in range(11):
        weights = neighbor_weights(distances, 10.0**-exponent, 3, relaxation)[0]
        assert (weights.sum(1) - 1).abs().max() < 1e-5
        if relaxation == "paper" and exponent >= 8:  # the query itself and one point on each side
            neighbors = (weights.double() * torch.arange(3000, dtype=torch.float64)[:, None]).sum(1)
            assert (neighbors.amax(1) - neighbors.amin(1) - 2).abs().max() < 0.01


@settings(max_examples=60, deadline=None)
@given(
    st.integers(7, 300),
    st.floats(-12, 3),
    st.sampled_from(FORMS),
    st.sampled_from(["uniform", "ties", "gaps", "equal"]),
    st.integers(0, 99),
)
def test_every_distribution_sums_to_one(candidates: int, exponent: float, relaxation: Relaxation, kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    distances = torch.rand(1, 5, candidates, generator=generator)
    if kind == "ties":
        distances = (distances * 4).round()
    elif kind == "gaps":
        distances = distances * 10.0**exponent * 500
    elif kind == "equal":
        distances = torch.full_like(distances, 3.0)
    weights = neighbor_weights(distances, 10.0**exponent, 7, relaxation)
    assert (weights >= 0).all()
    assert (weights.sum(2) - 1).abs().max() < 1e-5


def test_weights_of_ten_thousand_candidates_sum_to_one() -> None:
    distances = torch.rand(1, 2, 10_000, generator=torch.Generator().manual_seed(0)) * 100
    for relaxation in FORMS:
        for temperature in (1e-12, 1e-3, 1.0, 1e3):
            weights = neighbor_weights(distances, temperature, 7, relaxation)
            assert (weights.sum(2) - 1).abs().max() < 1e-5


def test_paper_form_gives_the_k_nearest_at_low_temperature() -> None:
    distances = torch.rand(1, 20, 50, generator=torch.Generator().manual_seed(1))
    weights = neighbor_weights(distances, 1e-12, 7, "paper")
    assert torch.equal(weights.argmax(2), distances.argsort(-1)[..., :7])
    assert torch.equal(weights.amax(2), torch.ones(1, 20, 7))


@pytest.mark.parametrize("relaxation", FORMS)
def test_a_masked_candidate_is_never_chosen(relaxation: Relaxation) -> None:
    distances = torch.rand(1, 4, 9, generator=torch.Generator().manual_seed(2))
    distances[..., 3] = math.inf
    for temperature in (1e-12, 0.1, 1e3):
        assert neighbor_weights(distances, temperature, 7, relaxation)[..., 3, :].max() == 0


def test_all_candidates_can_be_selected() -> None:
    distances = torch.tensor([[[0.0, 1.0, 2.0]]])
    weights = neighbor_weights(distances, 1e-6, 3, "paper")
    assert torch.equal(weights[0, 0], torch.eye(3))
    assert torch.equal(neighbor_weights(distances[..., :1], 1e-6, 1), torch.ones(1, 1, 1, 1))


@pytest.mark.parametrize("relaxation", FORMS)
@pytest.mark.parametrize("temperature", [1e-4, 1e-2, 1.0, 1e3])
def test_gradients_are_finite(relaxation: Relaxation, temperature: float) -> None:
    distances = torch.rand(1, 6, 40, generator=torch.Generator().manual_seed(3)).requires_grad_()
    heat = torch.tensor(temperature, requires_grad=True)
    weights = neighbor_weights(distances, heat, 7, relaxation)
    (weights * torch.arange(40.0)[:, None]).sum().backward()
    assert distances.grad is not None
    assert heat.grad is not None
    assert distances.grad.isfinite().all()
    assert heat.grad.isfinite()


@pytest.mark.parametrize("relaxation", FORMS)
def test_gradients_match_finite_differences(relaxation: Relaxation) -> None:
    distances = torch.rand(1, 2, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64, requires_grad=True)
    heat = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d, t: neighbor_weights(d, t, 3, relaxation), (distances, heat))


def test_error_messages_name_the_wrong_argument() -> None:
    distances = torch.zeros(1, 1, 4)
    with pytest.raises(ValueError, match="number of candidates, 4"):
        neighbor_weights(distances, 1.0, 5)
    with pytest.raises(ValueError, match="relaxation"):
        neighbor_weights(distances, 1.0, 2, "soft")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="number of items"):
        select_neighbors(torch.zeros(1, 2), torch.zeros(3, 2), torch.zeros(3, 1), 1.0, 4)
    with pytest.raises(ValueError, match="chunk"):
        select_neighbors(torch.zeros(1, 2), torch.zeros(3, 2), torch.zeros(3, 1), 1.0, 2, chunk=0)


@pytest.mark.parametrize("relaxation", FORMS)
@pytest.mark.parametrize("dimensions", [2, 20])
def test_select_neighbors_does_not_depend_on_the_chunk(relaxation: Relaxation, dimensions: int) -> None:
    generator = torch.Generator().manual_seed(5)
    queries, items = torch.randn(30, dimensions, generator=generator), torch.randn(70, dimensions, generator=generator)
    values = torch.randn(70, 4, generator=generator)
    heat = dimensions / 4
    whole = select_neighbors(queries, items, values, heat, 3, relaxation)
    distances = torch.cdist(queries.double(), items.double()).square()
    expected = torch.einsum("mnk,nf->mkf", neighbor_weights(distances[None], heat, 3, relaxation)[0], values.double())
    torch.testing.assert_close(whole, expected.float(), atol=2e-5, rtol=1e-4)
    for chunk in (1, 100, 700):
        some = select_neighbors(queries, items, values, heat, 3, relaxation, chunk=chunk)
        torch.testing.assert_close(some, whole, atol=1e-6, rtol=1e-5)
    assert select_neighbors(queries[:0], items, values, 0.5, 3).shape == (0, 3, 4)


@pytest.mark.parametrize("relaxation", FORMS)
@pytest.mark.parametrize("temperature", [1e-3, 0.05, 1.0, 50.0])
def test_inference_weights_agree_with_neighbor_weights(relaxation: Relaxation, temperature: float) -> None:
    distances = torch.rand(2, 6, 60, generator=torch.Generator().manual_seed(6)) * 3
    distances[..., 7] = math.inf
    heat = torch.full((2, 6, 1), temperature)
    fast = inference_weights(distances.clone(), heat, 7, relaxation)
    expected = neighbor_weights(distances, heat, 7, relaxation).permute(0, 3, 1, 2)
    torch.testing.assert_close(fast, expected, atol=2e-5, rtol=1e-3)
    assert (fast.sum(-1) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_exponential_has_no_numbers_below_the_normal_ones(dtype: torch.dtype) -> None:
    least = math.log(torch.finfo(dtype).tiny)
    logits = torch.cat((torch.linspace(2 * least, 5, 1000, dtype=dtype), torch.tensor([-math.inf, 0], dtype=dtype)))
    values = normal_exp(logits)
    assert ((values == 0) | (values > torch.finfo(dtype).tiny)).all()
    assert (values[logits > least + 1.2] > 0).all()
    torch.testing.assert_close(values, logits.exp(), atol=10 * torch.finfo(dtype).tiny, rtol=1e-6)
    assert values[-2] == 0
