"""Tests of the code form's hand-written backward pass against autograd in float64."""

import math

import torch

from models.neighbors.selection import CodeWeights, successive_weights


def code_weights(logits: torch.Tensor, k: int) -> torch.Tensor:
    weights: torch.Tensor = CodeWeights.apply(logits, k)  # type: ignore[no-untyped-call]
    return weights


def plain(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Return the weights of Eqs. 8-10 in the code form, computed literally."""
    weights = []
    for _ in range(k):
        weights.append(logits.softmax(-1))
        logits = logits + torch.log1p(-weights[-1])
    return torch.stack(weights, 1)


def test_gradients_agree_with_autograd_in_float64() -> None:
    torch.manual_seed(0)
    logits = (torch.randn(2, 6, 20) * 3).requires_grad_()
    upstream = torch.randn(2, 5, 6, 20)
    weights = code_weights(logits, 5)
    (gradient,) = torch.autograd.grad(weights, logits, upstream)
    exact = logits.detach().double().requires_grad_()
    expected = plain(exact, 5)
    (expected_gradient,) = torch.autograd.grad(expected, exact, upstream.double())
    torch.testing.assert_close(weights.double(), expected, atol=2e-6, rtol=1e-4)
    torch.testing.assert_close(gradient.double(), expected_gradient, atol=2e-5, rtol=1e-3)


def test_weights_agree_with_successive_weights() -> None:
    logits = torch.randn(1, 3, 9)
    expected = torch.stack(list(successive_weights(logits, 1.0, 4, "code")), 1)
    torch.testing.assert_close(code_weights(logits, 4), expected, atol=1e-6, rtol=1e-5)


def test_gradients_are_finite_for_weights_of_one_and_for_masked_candidates() -> None:
    logits = torch.randn(1, 4, 10)
    logits[0, 0, 3] = 200  # rounds to 1
    logits[0, 1, 2] = logits[0, 1, 5] = 90  # a tie far above the rest
    logits[..., 7] = -math.inf
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(code_weights(logits, 4), logits, torch.randn(1, 4, 4, 10))
    assert gradient.isfinite().all()
    assert (gradient[..., 7] == 0).all()
    assert gradient.abs().max() < 100
