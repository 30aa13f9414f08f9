"""Tests of N3UNet: residual blocks against loops, noise level maps, gradients, configurations and training."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.networks.config import parse_config, store_config
from models.networks.n3unet import N3UNet, N3UNetConfig, ResidualBlock
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.run import TrainingOptions, train
from models.weights.files import load_weights

SMALL = N3UNetConfig(features=6, embedding=5, window=5, k=3)
CPU = TrainingOptions(device="cpu")


def network(config: N3UNetConfig = SMALL, seed: int = 0) -> N3UNet:
    torch.manual_seed(seed)
    return config.build().double().eval()


def image(channels: int = 1, height: int = 40, width: int = 48) -> Tensor:
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("position", ["encoder", "decoder", "both", "none"])
@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_variant_keeps_the_shape_and_trains_all_parameters(position: str, levels: int, channels: int) -> None:
    config = N3UNetConfig.parse({**SMALL.asdict(), "position": position, "levels": levels, "channels": channels})
    net, noisy = network(config).train(), image(channels)
    denoised = net(noisy, torch.full((2, 1, 1, 1), 0.1, dtype=torch.float64))
    assert denoised.shape == noisy.shape
    denoised.square().mean().backward()
    # A softmax follows the batch normalization of the distances, so the shift of the normalization has no effect.
    untrained = {name for name, value in net.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0}
    assert all(name.endswith("distance_norm.bias") for name in untrained)


def test_coarser_levels_may_have_any_width() -> None:
    config = N3UNetConfig.parse({**SMALL.asdict(), "coarse_features": [7, 9]})
    assert config.widths == (6, 7, 9)
    assert parse_config(json.loads(json.dumps(store_config(config)))) == config
    net = network(config)
    assert [layer.out_channels for layer in (net.first, net.down, net.down2, net.up)] == [6, 7, 9, 6]
    assert net(image(), torch.tensor(0.1)).shape == image().shape
    assert SMALL.widths == (6, 12, 18)


def test_a_network_whose_last_convolution_is_zero_returns_its_input() -> None:
    net, noisy = network(), image()
    torch.nn.init.zeros_(net.last.weight)
    assert net.last.bias is not None
    torch.nn.init.zeros_(net.last.bias)
    assert torch.equal(net(noisy, torch.tensor(0.1)), noisy)


def test_a_constant_sigma_map_equals_a_scalar_sigma() -> None:
    net, noisy = network(), image()
    level = torch.full((2, 1, 1, 1), 0.2, dtype=torch.float64)
    torch.testing.assert_close(net(noisy, level.expand(2, 1, 40, 48)), net(noisy, level))


def test_a_sigma_map_acts_locally() -> None:
    config = N3UNetConfig.parse({**SMALL.asdict(), "position": "none"})
    net, noisy = network(config), image(width=256)
    low, high = (torch.full((2, 1, 40, 256), value, dtype=torch.float64) for value in (0.1, 0.3))
    mixed = torch.cat((low[..., :128], high[..., 128:]), -1)
    denoised = net(noisy, mixed)
    torch.testing.assert_close(denoised[..., :8], net(noisy, low)[..., :8])
    torch.testing.assert_close(denoised[..., -8:], net(noisy, high)[..., -8:])


def test_residual_block_agrees_with_loops() -> None:
    block, maps = ResidualBlock(3).double(), torch.rand(1, 3, 5, 6, dtype=torch.float64)

    def convolve(layer: torch.nn.Conv2d, values: NDArray[np.float64]) -> NDArray[np.float64]:
        weight, padded = layer.weight.detach().numpy(), np.pad(values, ((0, 0), (1, 1), (1, 1)))
        assert layer.bias is not None
        out = np.zeros_like(values)
        for plane, row, column in np.ndindex(*out.shape):
            out[plane, row, column] = (weight[plane] * padded[:, row : row + 3, column : column + 3]).sum()
        bias: NDArray[np.float64] = layer.bias.detach().numpy()[:, None, None]
        return out + bias

    plain = maps[0].numpy()
    expected = plain + convolve(block.b, np.maximum(convolve(block.a, plain), 0))
    np.testing.assert_allclose(block(maps)[0].detach().numpy(), expected, atol=1e-12)
    fused = block.float()(maps.float())[0].detach().numpy()
    np.testing.assert_allclose(fused, expected, atol=1e-5)


def test_gradients_of_the_fused_residual_block_agree_with_float64() -> None:
    block = ResidualBlock(4)
    maps = torch.rand(2, 4, 8, 8, requires_grad=True)
    gradients = torch.autograd.grad(block(maps).square().sum(), [maps, *block.parameters()])
    plain = block.double()
    wide = maps.detach().double().requires_grad_()
    expected = torch.autograd.grad(plain(wide).square().sum(), [wide, *plain.parameters()])
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


def test_stored_configurations_can_be_read() -> None:
    config = N3UNetConfig(channels=3, levels=2, position="both")
    assert parse_config(store_config(config)) == config
    with pytest.raises(ValueError, match="unknown network 'resnet'"):
        parse_config({"network": "resnet"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 2},
        {"levels": 1},
        {"position": "middle"},
        {"planes": 3},
        {"k": 0},
        {"window": 2},
        {"depth": 6},
        {"features": 0},
        {"coarse_features": [8]},
        {"coarse_features": [8, 0]},
        {"coarse_features": [8, 8, 8]},
    ],
)
def test_an_invalid_configuration_is_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        N3UNetConfig.parse(wrong)


def test_a_resumed_training_run_gives_identical_weights(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 60, 70)).astype(np.uint8)
    ImageSet(list(pixels)).save(tmp_path / "set.npz")
    recipe = Recipe(steps=4, crop=48, batch=2, warmup_steps=1, decay_share=0.5)
    whole = train([tmp_path / "set.npz"], tmp_path / "whole", recipe, CPU, config=SMALL)
    assert math.isfinite(whole.progress.loss)
    train([tmp_path / "set.npz"], tmp_path / "parts", recipe, replace(CPU, session_steps=2), config=SMALL)
    parts = train([tmp_path / "set.npz"], tmp_path / "parts", recipe, CPU, config=SMALL)
    one, other = load_weights(whole.weights), load_weights(parts.weights)
    assert one.config == SMALL
    assert all(torch.equal(one.state[key], other.state[key]) for key in one.state)


def test_a_color_network_trains_on_color_images(tmp_path: Path) -> None:
    ImageSet(list(np.random.default_rng(0).integers(0, 255, (2, 60, 70, 3)).astype(np.uint8))).save(tmp_path / "set.npz")
    recipe = Recipe(steps=2, crop=48, batch=2, warmup_steps=1)
    result = train([tmp_path / "set.npz"], tmp_path / "run", recipe, CPU, config=replace(SMALL, channels=3))
    assert math.isfinite(result.progress.loss)
    assert math.isfinite(result.gain)
    assert load_weights(result.weights).config.channels == 3
