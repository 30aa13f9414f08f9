"""The networks for photographs: the same result however a picture is cut, and gray pictures as color pictures."""

import math

import pytest
import torch
from torch import Tensor

from models.images.noise_map import CELL, WHITE, enlarge
from models.inference.cut_plan import Plan
from models.inference.denoiser import Denoiser
from models.inference.noise_estimator import CONTEXT_TILE, TILE, NoiseEstimator
from models.inference.photo import Photo
from models.neighbors.neighborhood import NeighborQuery
from models.networks.noise_level_net import LEAST_VARIANCE, NoiseLevelConfig, NoiseLevelNet
from models.steps import run_through
from models.weights.files import Weights, WeightsError
from tests.support.networks import random_image, random_unet, random_weights, randomize

CPU = torch.device("cpu")


def picture(height: int, width: int) -> Tensor:
    return torch.stack([random_image(height, width, seed) for seed in range(3)])


def cells_of(height: int, width: int) -> Tensor:
    size = (2, math.ceil(height / CELL), math.ceil(width / CELL))
    return 0.02 + 0.2 * torch.rand(size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser(random_unet(1, channels=3, noise_planes=2), CPU, torch.float32, 1 << 28)


@pytest.fixture(scope="module")
def estimator() -> NoiseEstimator:
    network = NoiseLevelNet(NoiseLevelConfig(filters=6, features=5))
    randomize(network, 0)
    weights = Weights("random", network.config, (0.0, 75.0), {}, "0" * 64, network.state_dict())
    return NoiseEstimator(weights, CPU, torch.float32)


def test_a_map_gives_the_result_of_the_whole_network(denoiser: Denoiser) -> None:
    noisy, cells = picture(96, 128), cells_of(96, 128)
    with torch.no_grad():
        dense = denoiser.weights.network()(noisy[None], enlarge(cells, slice(0, 96), slice(0, 128))[None])[0]
    assert (denoiser.denoise(noisy, cells) - dense).abs().max() < 1e-5
    assert (denoiser.denoise(noisy, cells) - denoiser.denoise(noisy, 0.1)).abs().max() > 1e-2


@pytest.mark.parametrize("size", [(97, 123), (33, 200), (7, 5), (1, 1)])
def test_strips_of_any_height_give_one_result(denoiser: Denoiser, size: tuple[int, int]) -> None:
    noisy, cells, panels = picture(*size), cells_of(*size), denoiser.plan(*size).panels
    one, many = (
        run_through(denoiser.planned_steps(noisy, cells, Plan(panels, rows, side, batch)))
        for rows, side, batch in ((1000, 8, 8), (1, 1, 1))
    )
    assert (one - many).abs().max() <= 1e-5


def test_one_level_means_white_noise(denoiser: Denoiser) -> None:
    noisy = picture(64, 80)
    cells = torch.tensor(WHITE).view(2, 1, 1).expand(2, 8, 10) * 0.1
    assert (denoiser.denoise(noisy, 0.1) - denoiser.denoise(noisy, cells)).abs().max() < 1e-6


@pytest.mark.parametrize("cells", [torch.zeros(2, 8, 9), torch.zeros(64, 80), torch.zeros(2, 8, 10, dtype=torch.float64)])
def test_a_map_that_does_not_fit_is_refused(denoiser: Denoiser, cells: Tensor) -> None:
    with pytest.raises(ValueError, match=r"must be a float32 tensor \(2, 8, 10\)"):
        denoiser.denoise(picture(64, 80), cells)


@pytest.mark.parametrize("size", [(600, 1100), (517, 1030), (40, 9), (1, 1)])
def test_the_estimate_does_not_depend_on_the_tiles(
    estimator: NoiseEstimator, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = picture(*size)
    height, width = (math.ceil(side / CELL) for side in size)
    extended = torch.nn.functional.pad(noisy[None], (0, width * CELL - size[1], 0, height * CELL - size[0]), mode="replicate")
    with torch.no_grad():
        dense = estimator._network.estimate(extended)[0]
    assert (run_through(estimator.steps(noisy)) / dense - 1).abs().max() < 1e-4
    assert TILE < 600
    monkeypatch.setattr("models.inference.noise_estimator.TILE", 64)
    monkeypatch.setattr("models.inference.noise_estimator.CONTEXT_TILE", 16)
    assert CONTEXT_TILE > 16
    assert (run_through(estimator.steps(noisy)) / dense - 1).abs().max() < 1e-4
    assert dense.std() > 1e-3 * dense.mean()


def test_an_estimate_has_a_lower_bound(estimator: NoiseEstimator) -> None:
    assert run_through(estimator.steps(torch.zeros(3, 32, 32))).min() >= 0.99 * math.sqrt(LEAST_VARIANCE)


def test_the_progress_of_an_estimate_rises_to_one(estimator: NoiseEstimator) -> None:
    fractions = list(estimator.steps(picture(1030, 600)))
    assert fractions == sorted(fractions)
    assert fractions[-1] <= 1


def test_a_gray_image_is_an_image_with_equal_channels(denoiser: Denoiser, estimator: NoiseEstimator) -> None:
    photo = Photo(denoiser, estimator)
    gray = random_image(70, 90)
    cells = cells_of(70, 90)
    expected = denoiser.denoise(gray.expand(3, -1, -1).contiguous(), cells).mean(0)
    assert (photo.denoise(gray, cells) - expected).abs().max() < 1e-6
    equal = torch.tensor([0.1, 0.0]).view(2, 1, 1).expand_as(cells).contiguous()
    assert torch.equal(photo.denoise(gray, 0.1), photo.denoise(gray, equal))
    assert photo.estimate(gray).shape == (2, 9, 12)
    assert photo.info.channels == 1
    assert photo.info.color is not None
    assert photo.info.color.channels == 3


def test_an_rgb_image_with_equal_channels_is_a_gray_image(denoiser: Denoiser, estimator: NoiseEstimator) -> None:
    """Its channels have the same noise, and the result has no color."""
    photo = Photo(denoiser, estimator)
    gray = random_image(40, 56)
    equal = gray.expand(3, -1, -1)
    query = NeighborQuery(20, 30, 1)
    for sigma in (0.1, cells_of(40, 56)):
        assert torch.equal(photo.denoise(equal, sigma), photo.denoise(gray, sigma).expand(3, -1, -1))
        found, expected = (run_through(photo.neighbor_steps(image, sigma, query)) for image in (equal, gray))
        assert torch.equal(found, expected)
    changed = equal.clone()
    changed[0, 0, 0] += 1
    assert torch.equal(photo.denoise(changed, 0.1), denoiser.denoise(changed, 0.1))


def test_weights_of_other_networks_do_not_estimate_noise() -> None:
    with pytest.raises(WeightsError, match="not those of a network that estimates noise"):
        NoiseEstimator(random_weights(), CPU, torch.float32)
