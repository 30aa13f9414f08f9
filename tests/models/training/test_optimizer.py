"""Muon steps on convolutions' weights through matrices that share their memory."""

import torch
from torch import nn

from models.training.optimizer import Optimizer, as_matrix


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Conv2d(4, 1, 3))
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def test_a_matrix_shares_the_memory_of_its_weight() -> None:
    for layer in network():
        if isinstance(layer, nn.Conv2d):
            matrix = as_matrix(layer.weight.detach())
            assert matrix.shape == (layer.out_channels, 9 * layer.in_channels)
            assert matrix.data_ptr() == layer.weight.data_ptr()


def test_every_parameter_moves_and_a_matrix_by_an_orthogonal_step_of_the_size_of_adam_s() -> None:
    layers = network()
    before = {name: value.detach().clone() for name, value in layers.named_parameters()}
    optimizer = Optimizer(layers, weight_decay=0.0)
    layers(torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))).square().mean().backward()
    optimizer.step(0.01)
    assert all(not torch.equal(value, before[name]) for name, value in layers.named_parameters())
    step = as_matrix(before["3.weight"] - dict(layers.named_parameters())["3.weight"].detach())
    values = torch.linalg.svdvals(step) / (0.01 * 0.2 * max(step.shape) ** 0.5)
    assert values.min() > 0.5  # Newton-Schulz iterations bring them near 1 only
    assert values.max() < 1.3


def test_it_goes_down() -> None:
    layers, noise = network(), torch.Generator().manual_seed(0)
    optimizer = Optimizer(layers, weight_decay=1e-4)
    losses = []
    for _ in range(40):
        layers.zero_grad()
        loss = (layers(torch.rand(4, 1, 12, 12, generator=noise)) - 3).square().mean()
        loss.backward()
        losses.append(loss.item())
        optimizer.step(0.02)
    assert losses[-1] < 0.5 * losses[0]


def test_adamw_alone() -> None:
    layers = network()
    before = {name: value.detach().clone() for name, value in layers.named_parameters()}
    optimizer = Optimizer(layers, weight_decay=0.0, kind="adamw")
    layers(torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))).square().mean().backward()
    optimizer.step(0.01)
    assert set(optimizer.state_dict()) == {"adamw"}
    moved = (dict(layers.named_parameters())["3.weight"].detach() - before["3.weight"]).abs()
    torch.testing.assert_close(moved.max(), torch.tensor(0.01), atol=1e-4, rtol=0)  # its first step has the size of the rate
