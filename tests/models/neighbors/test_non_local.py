"""Tests of the non-local block."""

import math

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity

from models.neighbors.non_local import NonLocalBlock


def trained(block: NonLocalBlock) -> NonLocalBlock:
    """Give all layers random weights, also the output convolution, which starts at zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return block


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def by_loops(block: NonLocalBlock, x: Tensor) -> Tensor:
    """Return the output of Eqs. 1, 3 and 6, computed one query pixel at a time in float64."""
    block = block.double()
    theta, phi, g = (conv(x.double()) for conv in (block.theta, block.phi, block.g))
    phi, g = block.pool(phi), block.pool(g)
    out = torch.empty_like(theta)
    for b in range(x.shape[0]):
        for row in range(x.shape[2]):
            for column in range(x.shape[3]):
                weights = [
                    math.exp(float((theta[b, :, row, column] * phi[b, :, i, j]).sum()))
                    for i in range(phi.shape[2])
                    for j in range(phi.shape[3])
                ]
                total = sum(weights)
                out[b, :, row, column] = sum(
                    (weight / total * value for weight, value in zip(weights, g[b].flatten(1).T, strict=True)),
                    torch.zeros(g.shape[1], dtype=torch.float64),
                )
    added: Tensor = block.out(out)
    return x.double() + added


@pytest.mark.parametrize("subsample", [1, 2])
@torch.no_grad()
def test_output_agrees_with_loops(subsample: int) -> None:
    block = trained(NonLocalBlock(4, subsample=subsample))
    x = image(2, 4, 5, 6)
    torch.testing.assert_close(block(x).double(), by_loops(block, x), atol=1e-5, rtol=1e-5)


def test_new_block_is_the_identity_and_can_learn() -> None:
    block = NonLocalBlock(6, embedding=3)
    x = image(1, 6, 8, 7)
    out = block(x)
    assert torch.equal(out, x)
    out.square().sum().backward()
    assert block.out.weight.grad is not None
    assert block.out.weight.grad.abs().max() > 0


@pytest.mark.parametrize("subsample", [1, 2, 3])
@torch.no_grad()
def test_attention_of_one_query_explains_its_output(subsample: int) -> None:
    block = trained(NonLocalBlock(4, subsample=subsample))
    x = image(2, 4, 7, 9)
    out, attention = block(x, return_attention=(3, -1))
    assert torch.equal(out, block(x))
    assert attention.shape == (2, -(-7 // subsample), -(-9 // subsample))
    torch.testing.assert_close(attention.sum((1, 2)), torch.ones(2))
    # The values weighted by the attention are what the block adds at that pixel.
    gathered = torch.einsum("bhw,behw->be", attention, block.pool(block.g(x)))
    added = block.out(gathered[:, :, None, None])[:, :, 0, 0]
    torch.testing.assert_close(x[:, :, 3, -1] + added, out[:, :, 3, -1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_most_attended_key_has_the_largest_sum_of_attention() -> None:
    block = trained(NonLocalBlock(4, subsample=2))
    x = image(3, 4, 6, 8)
    received = torch.zeros(3, 3, 4)
    for row in range(6):
        for column in range(8):
            received += block(x, return_attention=(row, column))[1]
    best = received.flatten(1).argmax(1)
    assert torch.equal(block.most_attended(x), torch.stack((best // 4, best % 4), 1))


def test_gradients_match_finite_differences() -> None:
    block = trained(NonLocalBlock(2, embedding=2, subsample=2)).double()
    x = image(1, 2, 3, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(block, (x,))


def test_the_whole_attention_is_never_in_memory() -> None:
    # The whole attention of 128 x 128 pixels would take 1 GiB.
    block = NonLocalBlock(4)
    x = image(1, 4, 128, 128)
    with torch.no_grad(), torch.profiler.profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profile:
        block(x)
    largest = max(event.self_cpu_memory_usage for event in profile.key_averages())
    assert 0 < largest < 2**27


def test_invalid_arguments_are_rejected() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        NonLocalBlock(4, subsample=0)
    with pytest.raises(IndexError):
        NonLocalBlock(2)(image(1, 2, 3, 3), return_attention=(3, 0))
