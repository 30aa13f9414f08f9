"""The recipe: its schedule, its noise levels, its loss."""

import math

import numpy as np
import pytest
import torch

from models.training.image_set import ImageSet
from models.training.recipe import LOSS_FLOOR, Recipe


def test_the_rate_rises_then_falls_to_nothing() -> None:
    recipe = Recipe(warmup_steps=10)
    assert recipe.rate(0, 0) == pytest.approx(0.1)
    assert recipe.rate(9, 0) == pytest.approx(1)
    assert recipe.rate(100, 0.5) == pytest.approx(0.5)
    assert recipe.rate(100, 1) == pytest.approx(0)
    assert recipe.rate(100, 1.2) == pytest.approx(0)
    assert Recipe(warmup_steps=0).rate(0, 0) == 1


def test_the_rate_stays_until_its_last_share() -> None:
    recipe = Recipe(warmup_steps=0, decay_share=0.25)
    assert [recipe.rate(0, at) for at in (0, 0.5, 0.75)] == [1, 1, 1]
    assert recipe.rate(0, 0.875) == pytest.approx(0.5)
    assert recipe.rate(0, 1) == pytest.approx(0)
    assert Recipe(warmup_steps=0, decay_share=0).rate(0, 1) == 1


def draws(recipe: Recipe, batches: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([recipe.draw_sigma(recipe.batch, generator).view(-1) * 255 for _ in range(batches)])


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
    clean, noisy, sigma = Recipe(batch=batch, crop=8).draw_batch(images, torch.Generator().manual_seed(0))
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
    clean, noisy, sigma = Recipe(batch=4, crop=8, antithetic=False).draw_batch(images, torch.Generator().manual_seed(0))
    noise = ((noisy - clean) / sigma).flatten(1)
    assert (torch.corrcoef(noise) - torch.eye(4)).abs().max() < 0.5


def test_losses() -> None:
    clean = torch.zeros(2, 1, 4, 4)
    denoised = torch.tensor([0.1, 0.2]).view(2, 1, 1, 1).expand_as(clean)
    sigma = torch.tensor([0.0, 0.8]).view(2, 1, 1, 1)
    assert Recipe(loss="mse").measure(denoised, clean, sigma).item() == pytest.approx(0.025)
    plain = (math.log(0.01 + LOSS_FLOOR) + math.log(0.04 + LOSS_FLOOR)) / 2
    assert Recipe(loss="log_mse").measure(denoised, clean, sigma).item() == pytest.approx(plain)
    softened = (math.log(0.01 + LOSS_FLOOR) + math.log(0.04 + LOSS_FLOOR + 0.04)) / 2
    assert Recipe(loss="softened_log_mse").measure(denoised, clean, sigma).item() == pytest.approx(softened)


def test_survives_storing() -> None:
    recipe = Recipe(steps=7, sigma_range=(5, 50))
    assert Recipe.parse({**recipe.asdict(), "sigma_range": [5, 50]}) == recipe


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma_range": (50, 25)},
        {"sigma_range": (-1, 5)},
        {"batch": 0},
        {"steps": 0},
        {"ema": 1.0},
        {"loss": "l1"},
        {"crop": 0},
        {"decay_share": 1.1},
    ],
)
def test_refuses_what_makes_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Recipe(**wrong)  # type: ignore[arg-type]
