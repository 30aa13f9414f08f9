"""The network that estimates noise: shapes, reach, and what its parts mean."""

import pytest
import torch

from models.images.noise_map import CELL, cell_variances
from models.networks.noise_level_net import LEAST_VARIANCE, TEXTURE_VARIANCE, NoiseLevelConfig, NoiseLevelNet
from models.training.trainer import fresh_network


def network(blocks: int = 2) -> NoiseLevelNet:
    return fresh_network(NoiseLevelConfig(filters=6, features=5, blocks=blocks).build, 0).double().eval()


def picture(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("blocks", [0, 2])
def test_an_estimate_has_a_level_for_each_cell_and_the_noise_of_each_pixel(blocks: int) -> None:
    noisy = picture(48, 64)
    with torch.no_grad():
        estimate = network(blocks)(noisy)
    assert estimate.log_variances.shape == (1, 2, 6, 8)
    assert estimate.noise.shape == noisy.shape
    assert estimate.log_variances.exp().min() >= 0.99 * LEAST_VARIANCE
    torch.testing.assert_close(network(blocks).estimate(noisy), network(blocks).noise_levels(estimate.log_variances))


def test_what_texture_adds_is_not_noise() -> None:
    variances = torch.tensor([TEXTURE_VARIANCE, TEXTURE_VARIANCE + (2 / 255) ** 2, (20 / 255) ** 2])
    levels = 255 * NoiseLevelNet.noise_levels(variances.log())
    assert levels[0].item() == pytest.approx(255 * LEAST_VARIANCE**0.5)
    assert levels[1].item() == pytest.approx(2, rel=1e-4)
    assert levels[2].item() == pytest.approx(20, rel=0.002)


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_the_features_of_a_cell_depend_on_pixels_within_its_reach(blocks: int) -> None:
    net = network(blocks)
    noisy = picture(96, 96).requires_grad_()
    row, reach = 5, net.config.local_reach
    net.local(noisy)[0, :, row, row].sum().backward()
    assert noisy.grad is not None
    seen = noisy.grad[0].abs().sum(0).sum(1).nonzero().flatten()
    assert seen.min() == CELL * row - reach
    assert seen.max() == CELL * (row + 1) - 1 + reach


def test_the_energies_of_the_separated_noise_are_features() -> None:
    net, noisy = network(), picture(32, 32)
    with torch.no_grad():
        features, noise = net.local(noisy), net(noisy).noise
    expected = (cell_variances(noise) + 1e-8).log()
    torch.testing.assert_close(features[:, net.config.filters : net.config.filters + 2], expected.to(features))


@pytest.mark.parametrize("changes", [{"channels": 1}, {"filters": 0}, {"features": 2.5}, {"blocks": -1}, {"blocks": True}])
def test_wrong_geometries_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        NoiseLevelConfig(**changes).check()
