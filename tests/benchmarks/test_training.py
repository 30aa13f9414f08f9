"""What compares training recipes, times training and draws the card's curve runs from end to end on tiny images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import ab, curve
from benchmarks.train_speed import shares
from models.networks.n3net import N3NetConfig
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.trainer import Trainer
from models.weights.files import save_weights
from tests.support.networks import random_weights


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two images a little larger than a crop."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(2):
        image = np.random.default_rng(index).integers(0, 256, (88, 82), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_recipes_are_compared_from_the_same_start(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = tmp_path / "start.safetensors"
    config = N3NetConfig(features=4, depth=2, planes=4, embedding=4, window=3, k=2)
    recipe, images = Recipe(), ImageSet.read([pictures])
    save_weights(start, config, Trainer(images, config, recipe, torch.device("cpu")).average, recipe.sigma_range, {})
    variants = ["as it is", "independent noise", "frozen statistics"]
    options = ["--steps", "2", "--from", str(start), "--device", "cpu", "--variant", *variants]
    ab.main([str(pictures), "--validation", str(pictures), *options])
    header, _, *rows = map(cells, capsys.readouterr().out.splitlines())
    assert header[1:-1] == [f"sigma {sigma}" for sigma in ab.SIGMAS]
    assert [row[0] for row in rows] == ["start", *variants]
    figures = [tuple(map(float, row[1:-1])) for row in rows]
    assert len(set(figures)) == len(figures)  # each has learned something of its own


@pytest.mark.parametrize("name", list(ab.VARIANTS))
def test_every_variant_changes_one_choice_that_there_is(name: str) -> None:
    changes = {key: value for key, value in ab.VARIANTS[name].items() if key != "relaxation"}
    recipe = replace(Recipe(), **changes)
    differing = [key for key, value in recipe.asdict().items() if value != Recipe().asdict()[key]]
    assert sorted(differing) == sorted(changes)
    assert set(differing) <= {"crop", "batch"} or len(differing) == 1


@pytest.mark.parametrize("frozen", [False, True])
def test_the_time_of_a_step_is_told_by_operations(pictures: Path, frozen: bool) -> None:
    recipe = Recipe(batch=2, freeze_statistics=frozen)
    found = shares(Trainer(ImageSet.read([pictures]), N3NetConfig(depth=3), recipe, torch.device("cpu")))
    assert sum(found.values()) == pytest.approx(1)
    assert all(share >= 0 for share in found.values())
    assert min(found["convolutions, forward"], found["convolutions, backward"], found["products of the N3 blocks"]) > 0


def test_the_curve_is_drawn_and_weak_noise_told(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve, "CURVE", (5, 75))
    weights = random_weights(1)
    path = tmp_path / "random.safetensors"
    save_weights(path, weights.config, weights.state, weights.sigma_range, {})
    curve.main([str(pictures), "--weights", str(path), "--plot", str(tmp_path / "curve.svg")])
    lines = [cells(line) for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line[0] for line in lines] == ["stated sigma", "0", "0.5", "1", "sigma", "3", "5"]
    assert all(float(line[1]) > 0 for line in lines[1:4])
    assert all(float(line[1]) <= float(line[2]) for line in lines[5:])
    assert "<svg" in (tmp_path / "curve.svg").read_text()
