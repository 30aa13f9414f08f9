"""Muon against PyTorch's, which updates one matrix at a time in bfloat16."""

import pytest
import torch
from torch import nn

from models.training import muon
from models.training.muon import Muon, orthogonalized

SHAPES = ((6, 18), (6, 18), (18, 6), (4, 4))
RATE, DECAY = 0.02, 0.1


def matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


@pytest.mark.parametrize("fast", [True, False])
def test_steps_are_those_of_pytorch_s_muon(*, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "has_fast_bfloat16", lambda: fast)
    ours, theirs = matrices(), matrices()
    optimizer = Muon(ours, DECAY)
    optimizer.param_groups[0]["lr"] = RATE
    oracle = torch.optim.Muon(theirs, lr=RATE, weight_decay=DECAY, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    generator = torch.Generator().manual_seed(1)
    for step in range(3):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        if step == 1:
            ours[0].grad = theirs[0].grad = None  # stays as it is, whatever the other one of its size does
        optimizer.step()
        oracle.step()
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, atol=0.03 * RATE, rtol=0)  # bfloat16 has three digits


def test_a_state_of_pytorch_s_muon_continues() -> None:
    ours, theirs = matrices(), matrices()
    oracle = torch.optim.Muon(theirs, lr=RATE, weight_decay=DECAY, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for matrix in theirs:
        matrix.grad = torch.ones_like(matrix)
    oracle.step()
    optimizer = Muon(ours, DECAY)
    optimizer.load_state_dict(oracle.state_dict())
    for matrix, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(optimizer.state[matrix]["momentum_buffer"], oracle.state[other]["momentum_buffer"])


def test_singular_values_come_near_one() -> None:
    values = torch.linalg.svdvals(orthogonalized(torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))).float())
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_zero_gradient_does_nothing() -> None:
    assert not orthogonalized(torch.zeros(2, 3, 4)).any()
