"""Tests of the convolutions: training with frozen normalization gives the same numbers as running layer by layer."""

import pytest
import torch
from torch import Tensor, nn

from models.networks.convolutions import Convolutions
from models.networks.n3net import N3Net
from tests.support.networks import random_network


def layer_by_layer(layers: Convolutions, maps: Tensor) -> Tensor:
    for layer in layers:
        maps = layer(maps)
    return maps


def embedding() -> Convolutions:
    network = random_network(3)
    layers = network.get_submodule("blocks.0.embed")
    assert isinstance(layers, Convolutions)
    return layers


def gradients(layers: Convolutions, out: Tensor, maps: Tensor) -> tuple[Tensor, ...]:
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad(out, (maps, *layers.parameters()), upstream)


def test_folded_values_and_gradients_agree_with_layer_by_layer() -> None:
    layers = embedding()
    maps = torch.randn(2, 3, 9, 13, generator=torch.Generator().manual_seed(0)).requires_grad_()
    fast, slow = layers(maps), layer_by_layer(layers, maps)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    for name, one, other in zip(
        ("maps", *dict(layers.named_parameters())), gradients(layers, fast, maps), gradients(layers, slow, maps), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4, msg=name)


def test_normalization_is_folded_only_when_training_with_it_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    folded: list[Tensor] = []
    real = Convolutions._folded

    def spy(self: Convolutions, maps: Tensor) -> Tensor:
        folded.append(maps)
        return real(self, maps)

    monkeypatch.setattr(Convolutions, "_folded", spy)
    layers, maps = embedding(), torch.randn(1, 3, 6, 6)
    layers(maps)
    assert len(folded) == 1
    with torch.no_grad():
        layers(maps)
    layers.train()
    layers(maps)
    assert len(folded) == 1
    assert isinstance(layers[1], nn.BatchNorm2d)


def test_autocast_runs_the_convolutions_in_bfloat16() -> None:
    network: N3Net = random_network(3)
    noisy = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    sigma = torch.full((1, 1, 1, 1), 0.1)
    with torch.no_grad():
        exact = network(noisy, sigma)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(noisy, sigma)
    assert rounded.requires_grad
    assert 0 < (rounded - exact).abs().max() < 0.05 * exact.abs().max()
