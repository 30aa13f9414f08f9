"""The recipe: storing it, and what it refuses."""

import pytest

from models.training.recipe import Recipe


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
