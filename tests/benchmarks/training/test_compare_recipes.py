"""The comparison of training recipes runs from end to end on tiny images."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.training import compare_recipes
from models.networks.n3net import N3NetConfig
from models.training.recipe import Recipe
from models.training.trainer import fresh_network
from models.weights.files import save_weights
from tests.support.image_folders import noise_pictures
from tests.support.markdown import cells


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return noise_pictures(tmp_path / "pictures")


def test_recipes_are_compared_from_the_same_start(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = tmp_path / "start.safetensors"
    config = N3NetConfig(features=4, depth=2, planes=4, embedding=4, window=3, k=2)
    save_weights(start, config, fresh_network(config.build, seed=0).state_dict(), (0, 75), {})
    variants = ["as it is", "independent noise", "frozen statistics"]
    options = ["--steps", "2", "--from", str(start), "--device", "cpu", "--variant", *variants]
    compare_recipes.main([str(pictures), "--validation", str(pictures), *options])
    header, _, *rows = map(cells, capsys.readouterr().out.splitlines())
    assert header[1:-1] == [f"sigma {sigma}" for sigma in compare_recipes.SIGMAS]
    assert [row[0] for row in rows] == ["start", *variants]
    figures = [tuple(map(float, row[1:-1])) for row in rows]
    assert len(set(figures)) == len(figures)  # every variant gave other weights


@pytest.mark.parametrize("name", list(compare_recipes.VARIANTS))
def test_every_variant_changes_one_choice_that_there_is(name: str) -> None:
    changes = {key: value for key, value in compare_recipes.VARIANTS[name].items() if key != "relaxation"}
    recipe = replace(Recipe(), **changes)
    differing = [key for key, value in recipe.asdict().items() if value != Recipe().asdict()[key]]
    assert sorted(differing) == sorted(changes)
    assert set(differing) <= {"crop", "batch"} or len(differing) == 1
