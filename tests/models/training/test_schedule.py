"""The schedule of the learning rate."""

import pytest

from models.training.recipe import Recipe
from models.training.schedule import rate_factor


def test_the_rate_rises_then_falls_to_nothing() -> None:
    recipe = Recipe(warmup_steps=10)
    assert rate_factor(recipe, 0, 0) == pytest.approx(0.1)
    assert rate_factor(recipe, 9, 0) == pytest.approx(1)
    assert rate_factor(recipe, 100, 0.5) == pytest.approx(0.5)
    assert rate_factor(recipe, 100, 1) == pytest.approx(0)
    assert rate_factor(recipe, 100, 1.2) == pytest.approx(0)
    assert rate_factor(Recipe(warmup_steps=0), 0, 0) == 1


def test_the_rate_stays_until_its_last_share() -> None:
    recipe = Recipe(warmup_steps=0, decay_share=0.25)
    assert [rate_factor(recipe, 0, at) for at in (0, 0.5, 0.75)] == [1, 1, 1]
    assert rate_factor(recipe, 0, 0.875) == pytest.approx(0.5)
    assert rate_factor(recipe, 0, 1) == pytest.approx(0)
    assert rate_factor(Recipe(warmup_steps=0, decay_share=0), 0, 1) == 1
