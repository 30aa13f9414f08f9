"""Training runs: they resume exactly, log their progress, and the network learns."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.training.recipe import Recipe
from models.training.run import CHECKPOINT, SCALARS, TrainingOptions, TrainingResult, train
from models.training.scalars import COLUMNS, TrainingProgress
from models.weights.files import load_weights
from tests.support.image_folders import draw_pictures
from tests.support.training import RECIPE, TINY

CPU = TrainingOptions(device="cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


def go(pictures: Path, run: Path, recipe: Recipe = RECIPE, **options: Any) -> TrainingResult:
    return train([pictures], run, recipe, TrainingOptions(device="cpu", log_steps=1, **options), config=TINY)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / SCALARS).open(newline="") as file:
        return list(csv.DictReader(file))


def curve(run: Path) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in ("step", "loss", "gradient_norm", "rate", "skipped")) for row in rows(run)]


def test_stopped_and_resumed_equals_uninterrupted_to_the_bit(pictures: Path, tmp_path: Path) -> None:
    whole = go(pictures, tmp_path / "whole")
    for _ in range(3):
        parts = go(pictures, tmp_path / "parts", session_steps=2)
    assert parts.finished
    assert whole.progress.step == parts.progress.step == 6
    one, other = (load_weights(result.weights).state for result in (whole, parts))
    assert all(torch.equal(one[key], other[key]) for key in one)
    losses = [
        [(row["step"], row["loss"], row["gradient_norm"], row["rate"]) for row in rows(tmp_path / run)]
        for run in ("whole", "parts")
    ]
    assert losses[0] == losses[1]
    states = [torch.load(tmp_path / run / CHECKPOINT, weights_only=True) for run in ("whole", "parts")]
    assert torch.equal(states[0]["trainer"]["generator"], states[1]["trainer"]["generator"])
    for part, moment in (("muon", "momentum_buffer"), ("adamw", "exp_avg_sq")):
        one, other = (state["trainer"]["optimizer"][part]["state"] for state in states)
        assert one
        assert all(torch.equal(one[index][moment], other[index][moment]) for index in one)


def test_rows_from_after_the_checkpoint_are_dropped(pictures: Path, tmp_path: Path) -> None:
    go(pictures, tmp_path, session_steps=2)
    with (tmp_path / SCALARS).open("a") as file:
        file.write("3,9,9,9,9,9,0\n")  # as left by a run that was killed
    go(pictures, tmp_path)
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2", "3", "4", "5", "6"]
    assert rows(tmp_path)[2]["loss"] != "9"
    assert tuple(rows(tmp_path)[0]) == COLUMNS


def test_a_finished_run_stays_as_it_is(pictures: Path, tmp_path: Path) -> None:
    first = go(pictures, tmp_path)
    again = go(pictures, tmp_path)
    assert again.finished
    assert load_weights(again.weights).state.keys() == load_weights(first.weights).state.keys()
    assert again.progress.step == 6


def test_the_weights_file_tells_of_its_training(pictures: Path, tmp_path: Path) -> None:
    weights = load_weights(go(pictures, tmp_path).weights)
    assert weights.config == TINY
    assert weights.sigma_range == (0.0, 75.0)
    assert weights.facts["images"] == "10"
    assert weights.facts["steps"] == "6"
    assert weights.facts["start"] == "fresh"


def test_a_time_budget_ends_with_a_checkpoint_and_weights(pictures: Path, tmp_path: Path) -> None:
    result = go(pictures, tmp_path, replace(RECIPE, steps=None), max_minutes=1e-9)
    assert result.finished  # the schedule follows the budget
    assert result.progress.step == 1
    assert (tmp_path / CHECKPOINT).is_file()
    result = go(pictures, tmp_path, replace(RECIPE, steps=None), max_minutes=60, session_steps=1)
    assert not result.finished
    assert result.progress.step == 2


def test_needs_an_end(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs an end"):
        go(pictures, tmp_path, replace(RECIPE, steps=None))


def test_a_run_folder_keeps_its_recipe(pictures: Path, tmp_path: Path) -> None:
    go(pictures, tmp_path, session_steps=1)
    with pytest.raises(ValueError, match="another recipe"):
        go(pictures, tmp_path, replace(RECIPE, learning_rate=1e-4))
    assert go(pictures, tmp_path, replace(RECIPE, steps=2)).progress.step == 2  # the length of the schedule may change
    with pytest.raises(ValueError, match="another configuration"):
        train([pictures], tmp_path, RECIPE, CPU, config=replace(TINY, k=2))


def test_tunes_weights_for_one_noise_level(pictures: Path, tmp_path: Path) -> None:
    start = load_weights(go(pictures, tmp_path / "a").weights)
    recipe = replace(RECIPE, sigma_range=(25, 25), learning_rate=0.0)
    tuned = load_weights(train([pictures], tmp_path / "b", recipe, CPU, start=start).weights)
    assert tuned.sigma_range == (25.0, 25.0)
    assert tuned.config == TINY
    assert tuned.facts["start"].startswith("weights (")
    names = [name for name in tuned.state if name.endswith("weight")]
    assert all(torch.equal(tuned.state[name], start.state[name]) for name in names)  # unchanged at learning rate 0


def test_reports_and_stops_when_asked(pictures: Path, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    options = TrainingOptions(device="cpu", log_steps=1)
    result = train([pictures], tmp_path, RECIPE, options, config=TINY, report=seen.append, stop=lambda: len(seen) == 3)
    assert result.progress.step == 3
    assert [at.step for at in seen] == [1, 2, 3, 3]
    assert all(math.isfinite(at.loss) and at.crops_per_second > 0 for at in seen)


def test_each_checkpoint_comes_with_weights(pictures: Path, tmp_path: Path) -> None:
    steps = []
    options = replace(CPU, checkpoint_minutes=0, log_steps=1)

    def report(at: TrainingProgress) -> None:
        if (tmp_path / "weights.safetensors").is_file():
            steps.append((at.step, load_weights(tmp_path / "weights.safetensors").facts["steps"]))

    train([pictures], tmp_path, replace(RECIPE, steps=3), options, config=TINY, report=report)
    assert steps == [(2, "1"), (3, "2"), (3, "3")]


def test_measures_whether_the_weights_denoise(pictures: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=1, sigma_range=(5, 5), learning_rate=0.0)
    random = train([pictures], tmp_path / "random", recipe, CPU, config=TINY)
    assert random.gain < 0
    noise_free = train([pictures], tmp_path / "noise-free", replace(recipe, sigma_range=(0, 0)), CPU, config=TINY)
    assert noise_free.gain == 0


@pytest.mark.parametrize("relaxation", ["code", "paper"])
def test_learns(pictures: Path, tmp_path: Path, relaxation: Any) -> None:
    recipe = replace(RECIPE, steps=60, batch=4, learning_rate=5e-3, warmup_steps=5, sigma_range=(50, 50))
    config = replace(TINY, relaxation=relaxation, blocks=1)
    result = train([pictures], tmp_path, recipe, TrainingOptions(device="cpu", log_steps=10), config=config)
    assert result.gain > 3
    losses = [float(row["loss"]) for row in rows(tmp_path)]
    noise = math.log((50 / 255) ** 2)
    assert losses[-1] < noise - 0.7  # 6 dB better than doing nothing: the loss adds sigma / 20 to the error


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("compiled", [False, True])
def test_learns_on_a_gpu(pictures: Path, tmp_path: Path, compiled: bool) -> None:
    recipe = replace(RECIPE, steps=60, batch=4, learning_rate=5e-3, warmup_steps=5, sigma_range=(50, 50))
    train([pictures], tmp_path, recipe, TrainingOptions(device="cuda", log_steps=10, compiled=compiled), config=TINY)
    assert float(rows(tmp_path)[-1]["loss"]) < math.log((50 / 255) ** 2) - 0.7
