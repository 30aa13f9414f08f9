"""Tests of N3Net: against float64 loops, and its configuration."""

import numpy as np
import pytest
import torch

from models.networks.n3net import DnCNN, N3Net, N3NetConfig, grid_padding, reflect
from tests.support import oracle
from tests.support.networks import random_image, random_network

SIZES = [(80, 80), (81, 81), (96, 123), (33, 200), (7, 5), (1, 1)]


def double(sigma: float) -> torch.Tensor:
    """Return a noise level in float64, as the oracle has it: rounded to float32, it would differ by more than all else."""
    return torch.tensor(sigma, dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
def test_network_agrees_with_the_oracle(size: tuple[int, int]) -> None:
    network = random_network(sum(size), window=15, k=7).double()
    noisy = random_image(*size, seed=1).double()
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    expected = oracle.Network(state, network.config.asdict()).denoise(noisy.numpy(), 0.1)
    denoised = network(noisy[None, None], double(0.1)).detach()[0, 0]
    np.testing.assert_allclose(denoised, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("changes", [{"sigma_plane": False}, {"relaxation": "paper"}, {"temperature_bound": None}, {"blocks": 0}])
def test_variants_agree_with_the_oracle(changes: dict[str, object]) -> None:
    network = random_network(3, **changes).double()
    noisy = random_image(44, 37).double()
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    expected = oracle.Network(state, network.config.asdict()).denoise(noisy.numpy(), 0.2)
    denoised = network(noisy[None, None], double(0.2)).detach()[0, 0]
    # Where a weight is almost 1, the rounding of its complement in the code form is all that differs.
    np.testing.assert_allclose(denoised, expected, rtol=0, atol=1e-7)


def test_images_of_a_batch_are_independent() -> None:
    network = random_network(0).double()
    images = torch.stack([random_image(40, 45, seed) for seed in (1, 2)])[:, None].double()
    sigma = torch.tensor([0.1, 0.2]).view(2, 1, 1, 1)
    with torch.no_grad():
        both = network(images, sigma)
        for index in range(2):
            one = network(images[index : index + 1], sigma[index : index + 1])
            torch.testing.assert_close(both[index : index + 1], one, atol=1e-9, rtol=1e-9)


def test_number_of_parameters_is_the_published_one() -> None:
    counts = {plane: sum(p.numel() for p in N3Net(N3NetConfig(sigma_plane=plane)).parameters()) for plane in (False, True)}
    assert round(counts[False] / 1e6, 3) == 0.706
    assert counts[True] - counts[False] == 64 * 9


def test_skip_connections_leave_out_the_sigma_plane() -> None:
    network = N3Net(N3NetConfig())
    residuals = [dncnn.residual for dncnn in network.dncnns if isinstance(dncnn, DnCNN)]
    assert residuals == [1, 8, 1]


def test_gradients_reach_every_parameter() -> None:
    network = random_network(1).train()
    network(random_image(40, 40)[None, None].repeat(2, 1, 1, 1), torch.tensor(0.1)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_network_with_a_sigma_plane_requires_sigma() -> None:
    with pytest.raises(ValueError, match="noise level"):
        random_network(0)(torch.zeros(1, 1, 20, 20))


@pytest.mark.parametrize("length", range(1, 60))
def test_padding_makes_patches_cover_the_length(length: int) -> None:
    before, after = grid_padding(length, 5)
    total = length + before + after
    assert total >= 10
    assert total % 5 == 0
    assert 0 <= after - before <= 1
    assert total - length < 5 or length < 10


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (19, 2), (20, 20)])
def test_reflection_agrees_with_numpy(size: tuple[int, int]) -> None:
    image = random_image(*size)
    padded, top, left = reflect(image[None, None], 20)
    pads = [((20 - n) // 2, 20 - n - (20 - n) // 2) if n < 20 else (0, 0) for n in size]
    assert (top, left) == (pads[0][0], pads[1][0])
    np.testing.assert_array_equal(padded[0, 0], np.pad(image.numpy(), pads, mode="reflect"))


@pytest.mark.parametrize(
    "values", [{"color": 1}, {"k": 0}, {"k": 3.0}, {"relaxation": "soft"}, {"window": 2, "k": 4}, {"depth": 1}, {"blocks": -1}]
)
def test_an_invalid_configuration_is_rejected(values: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        N3NetConfig.parse(values)
    assert N3NetConfig.parse(N3NetConfig(k=3).asdict()) == N3NetConfig(k=3)
