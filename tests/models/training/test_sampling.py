"""Training batches: noise levels and noise."""

import numpy as np
import pytest
import torch

from models.images import resize
from models.networks.noise_level_net import NoiseLevelConfig, NoiseLevelNet
from models.training.image_set import ImageSet
from models.training.recipe import Recipe, RecipeError
from models.training.sampling import LEAST_LEVEL, draw_batch, draw_sigma


def draws(recipe: Recipe, batches: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([draw_sigma(recipe, recipe.batch, generator).view(-1) * 255 for _ in range(batches)])


def test_neither_end_of_the_noise_levels_is_starved() -> None:
    sigma = draws(Recipe(batch=8, low_share=0.12, low_part=0.08), 2000)
    assert 0 <= sigma.min() < 0.1
    assert 74.9 < sigma.max() <= 75
    assert (sigma < 6).float().mean().item() == pytest.approx(0.12, abs=0.01)
    assert (sigma > 69.1).float().mean().item() == pytest.approx(0.88 * 5.9 / 69, abs=0.01)


def test_each_batch_covers_the_range() -> None:
    sigma = draws(Recipe(batch=8, low_share=0.0), 50)
    edges = torch.arange(8) * 75 / 8
    assert (sigma >= edges - 1e-4).all()
    assert (sigma <= edges + 75 / 8 + 1e-4).all()


def test_one_noise_level() -> None:
    assert torch.allclose(draws(Recipe(batch=3, sigma_range=(25, 25)), 2), torch.tensor(25.0))


@pytest.mark.parametrize("batch", [4, 5])
def test_noise_of_opposite_signs(batch: int) -> None:
    images = ImageSet([np.arange(400).astype(np.uint8).reshape(20, 20)])
    clean, noisy, sigma, *_ = draw_batch(Recipe(batch=batch, crop=8), images, torch.Generator().manual_seed(0))
    assert clean.shape == noisy.shape == (batch, 1, 8, 8)
    different = (batch + 1) // 2
    for first, second in zip(range(different), range(different, batch), strict=False):
        assert torch.equal(clean[first], clean[second])
        assert torch.allclose(noisy[first] - clean[first], clean[second] - noisy[second])
        assert sigma[first] == sigma[second]
    assert not torch.equal(clean[0], clean[1])
    assert ((noisy - clean).std((1, 2, 3)) / sigma.view(-1) - 1).abs().max() < 0.4


def test_independent_noise() -> None:
    images = ImageSet([np.arange(400).astype(np.uint8).reshape(20, 20)])
    clean, noisy, sigma, *_ = draw_batch(Recipe(batch=4, crop=8, antithetic=False), images, torch.Generator().manual_seed(0))
    noise = ((noisy - clean) / sigma).flatten(1)
    assert (torch.corrcoef(noise) - torch.eye(4)).abs().max() < 0.5


PHOTOGRAPHS = Recipe(batch=12, crop=32, noise="photographs")


def colors(height: int = 100) -> ImageSet:
    rng = np.random.default_rng(0)
    return ImageSet([rng.integers(0, 256, (height, height + 20, 3)).astype(np.uint8)])


def test_photographs_come_with_a_map_of_their_noise() -> None:
    batch = draw_batch(PHOTOGRAPHS, colors(), torch.Generator().manual_seed(1))
    assert batch.clean.shape == batch.noisy.shape == batch.noise.shape == (12, 3, 32, 32)
    assert batch.sigma.shape == (12, 2, 32, 32)
    measured = batch.noise.square().mean((1, 2, 3)).sqrt()
    noisy = measured > 2 / 255
    assert noisy.sum() > 6
    assert (batch.level.flatten()[noisy] / measured[noisy]).log().abs().max() < 0.8
    assert batch.level.min() >= LEAST_LEVEL


def test_the_same_generator_gives_the_same_photographs() -> None:
    first, second = (draw_batch(PHOTOGRAPHS, colors(), torch.Generator().manual_seed(1)) for _ in range(2))
    for one, other in zip(first[:4], second[:4], strict=True):
        assert torch.equal(one, other)


class KnowAll(NoiseLevelNet):
    """An estimator whose estimates are known: a ramp from cell to cell."""

    def __init__(self) -> None:
        super().__init__(NoiseLevelConfig())
        self.seen: list[torch.Tensor] = []

    def estimate(self, noisy: torch.Tensor) -> torch.Tensor:
        self.seen.append(noisy)
        ramp = torch.arange(8.0).expand(8, 8)
        return torch.stack((ramp, ramp.T)).expand(len(noisy), 2, 8, 8)


def test_photographs_come_with_the_estimate_of_a_network_that_sees_more_of_the_picture() -> None:
    estimator = KnowAll()
    batch = draw_batch(PHOTOGRAPHS, colors(160), torch.Generator().manual_seed(1), estimator)
    (seen,) = estimator.seen
    assert seen.shape == (12, 3, 64, 64)
    estimated = batch.sigma[:, 0].diff(dim=-1).mean((1, 2)) > 0.1  # by the ramp; the levels themselves are below 1
    assert 4 <= estimated.sum() <= 11
    luma, chroma = batch.sigma[estimated].unbind(1)
    for levels, along in ((luma, -1), (chroma.transpose(1, 2), -1)):
        assert torch.allclose(levels, levels[:1, :1].expand_as(levels)), "the same part of every map"
        assert levels.diff(dim=along).max() <= 1 / 8 + 1e-6
    # The crop is that part of the picture which the map belongs to.
    left, top = (round(8 * (float(levels[0, 0, 16]) + 0.5) - 16.5) for levels in (luma, chroma.transpose(1, 2)))
    assert torch.equal(batch.noisy, seen[:, :, top : top + 32, left : left + 32])


SUPER_RESOLUTION = Recipe(batch=6, crop=10, factors=(2, 3, 4), sigma_range=(0, 25))


def test_crops_for_super_resolution_are_small_and_their_targets_large() -> None:
    generator = torch.Generator().manual_seed(0)
    images = ImageSet([np.random.default_rng(0).integers(0, 256, (60, 80)).astype(np.uint8)])
    batches = [draw_batch(SUPER_RESOLUTION, images, generator) for _ in range(60)]
    assert {batch.factor for batch in batches} == {2, 3, 4}
    for batch in batches:
        assert batch.noisy.shape == batch.noise.shape == (6, 1, 10, 10)
        assert batch.clean.shape == (6, 1, 10 * batch.factor, 10 * batch.factor)
        small = batch.noisy - batch.noise
        assert torch.allclose(small, resize.shrink(batch.clean, batch.factor).clamp(0, 1), atol=0.51 / 255)
        assert torch.allclose(small * 255, (small * 255).round(), atol=1e-3)
    sigmas = torch.cat([batch.sigma.flatten() for batch in batches])
    noises = torch.cat([batch.noise.std((1, 2, 3)) for batch in batches])
    assert (sigmas == 0).float().mean().item() == pytest.approx(0.75, abs=0.08)
    assert sigmas.max() <= 25 / 255
    assert (noises / sigmas)[sigmas > 0].log().abs().max() < 0.4
    assert (noises[sigmas == 0] == 0).all()


def test_super_resolution_needs_factors_of_at_least_two_and_white_noise() -> None:
    for values in ({"factors": (1, 2)}, {"factors": (2,), "noise": "photographs"}):
        with pytest.raises(RecipeError, match="super-resolution"):
            Recipe(crop=32, **values)


def test_crops_of_photographs_hold_whole_cells() -> None:
    with pytest.raises(RecipeError, match="multiples of 8 px, not 30"):
        Recipe(crop=30, noise="photographs")
