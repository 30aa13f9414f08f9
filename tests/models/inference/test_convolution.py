"""A convolution and what follows it, in one pass or not, against separate operations."""

import pytest
import torch
from torch.nn import functional

from models.inference import convolution as module
from models.inference.convolution import Convolution
from models.networks.convolutions import runs_in_one_pass

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def rows(planes: int, dtype: torch.dtype) -> torch.Tensor:
    values = torch.randn(1, planes, 9, 12, generator=torch.Generator().manual_seed(0))
    return values.to(dtype, memory_format=torch.channels_last)


@pytest.fixture(params=[True, False], ids=["one pass", "separate"])
def passes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(module, "runs_in_one_pass", lambda *_: False)


@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("side", "stride"), [(3, 1), (2, 2)])
def test_relu_and_sum_are_those_of_separate_operations(side: int, stride: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(7, 5, side, side, generator=generator).to(dtype, memory_format=torch.channels_last)
    bias = torch.randn(7, generator=generator).to(dtype)
    layer, window = Convolution(weight, bias, stride), rows(5, dtype)
    padding = (0, 1) if side == 3 else (0, 0)
    plain = functional.conv2d(window.double(), weight.double(), bias.double(), stride, padding)
    added = torch.ones_like(plain).mul_(0.25).to(dtype, memory_format=torch.channels_last)
    atol, rtol = (0.2, 0.02) if dtype == torch.bfloat16 else (1e-4, 1e-5)
    for _ in range(2):  # the second call uses what the first one has prepared
        torch.testing.assert_close(layer(window).double(), plain, atol=atol, rtol=rtol)
        torch.testing.assert_close(layer(window, relu=True).double(), plain.relu(), atol=atol, rtol=rtol)
        torch.testing.assert_close(layer(window, added=added).double(), plain + 0.25, atol=atol, rtol=rtol)
    assert layer.planes == 7
    assert torch.all(added == 0.25)


def test_one_pass_is_for_float32_and_bfloat16_on_a_cpu() -> None:
    assert runs_in_one_pass(CPU, torch.float32) is torch.backends.mkldnn.is_available()
    assert not runs_in_one_pass(CPU, torch.float64)
    assert not runs_in_one_pass(CPU, torch.float16)
    assert not runs_in_one_pass(torch.device("cuda"), torch.float32)
