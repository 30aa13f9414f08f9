"""Training: resumable to the bit, guarded, logged, and of use: it learns."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from models.methods import NETWORKS
from models.networks.n3net import N3NetConfig
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.run import CHECKPOINT, COLUMNS, SCALARS, Progress, Result, train
from models.training.trainer import Trainer, TrainingError
from models.weights.files import load_weights, save_weights
from service.__main__ import app

TINY = N3NetConfig(features=8, depth=2, planes=8, embedding=8, window=5, k=3)
RECIPE = Recipe(crop=40, batch=2, steps=6, learning_rate=2e-3, warmup_steps=2, seed=5)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images with edges and gradients."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index in range(10):
        y, x = np.mgrid[:90, :100]
        a, b, c = rng.uniform(0.02, 0.3, 3)
        image = 128 + 60 * np.sign(np.sin(a * x + b * y)) + 50 * np.sin(c * (x - y))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    return folder


def go(pictures: Path, run: Path, recipe: Recipe = RECIPE, **options: Any) -> Result:
    return train([pictures], run, recipe, config=TINY, device="cpu", log_steps=1, **options)


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
    assert torch.equal(states[0]["generator"], states[1]["generator"])
    for part, moment in (("muon", "momentum_buffer"), ("adamw", "exp_avg_sq")):
        one, other = (state["optimizer"][part]["state"] for state in states)
        assert one
        assert all(torch.equal(one[index][moment], other[index][moment]) for index in one)


def test_rows_from_after_the_checkpoint_are_dropped(pictures: Path, tmp_path: Path) -> None:
    go(pictures, tmp_path, session_steps=2)
    with (tmp_path / SCALARS).open("a") as file:
        file.write("3,9,9,9,9,9,0\n")  # a run that was killed wrote it
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
    assert go(pictures, tmp_path, replace(RECIPE, steps=2)).progress.step == 2  # a longer or shorter schedule is no other run
    with pytest.raises(ValueError, match="another configuration"):
        train([pictures], tmp_path, RECIPE, config=replace(TINY, k=2), device="cpu")


def test_tunes_weights_for_one_noise_level(pictures: Path, tmp_path: Path) -> None:
    start = load_weights(go(pictures, tmp_path / "a").weights)
    recipe = replace(RECIPE, sigma_range=(25, 25), learning_rate=0.0)
    tuned = load_weights(train([pictures], tmp_path / "b", recipe, start=start, device="cpu").weights)
    assert tuned.sigma_range == (25.0, 25.0)
    assert tuned.config == TINY
    assert tuned.facts["start"].startswith("weights (")
    names = [name for name in tuned.state if name.endswith("weight")]
    assert all(torch.equal(tuned.state[name], start.state[name]) for name in names)  # at no learning rate, the same


def test_reports_and_stops_when_asked(pictures: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    result = go(pictures, tmp_path, report=seen.append, stop=lambda: len(seen) == 3)
    assert result.progress.step == 3
    assert [at.step for at in seen] == [1, 2, 3, 3]
    assert all(math.isfinite(at.loss) and at.crops_per_second > 0 for at in seen)


@pytest.mark.parametrize("relaxation", ["code", "paper"])
def test_learns(pictures: Path, tmp_path: Path, relaxation: Any) -> None:
    recipe = replace(RECIPE, steps=60, batch=4, learning_rate=5e-3, warmup_steps=5, sigma_range=(50, 50))
    config = replace(TINY, relaxation=relaxation, blocks=1)
    train([pictures], tmp_path, recipe, config=config, device="cpu", log_steps=10)
    losses = [float(row["loss"]) for row in rows(tmp_path)]
    noise = math.log((50 / 255) ** 2)
    assert losses[-1] < noise - 0.7  # 6 dB better than doing nothing: the loss adds sigma / 20 to the error


def trainer(pictures: Path, **options: Any) -> Trainer:
    return Trainer(ImageSet.read([pictures]), TINY, RECIPE, torch.device("cpu"), **options)


def test_steps_that_are_not_finite_are_skipped_and_counted(pictures: Path) -> None:
    one = trainer(pictures)
    one.step(0)
    good = {key: value.clone() for key, value in one.network.state_dict().items()}
    forward, one.forward = one.forward, lambda noisy, sigma: one.network(noisy * math.nan, sigma)
    step = one.step(0)
    assert step.skipped
    assert one.skipped == 1
    parameters = dict(one.network.named_parameters())
    assert all(torch.equal(parameters[key], good[key]) for key in parameters)
    assert all(value.isfinite().all() for value in one.network.state_dict().values())  # the statistics too
    one.forward = forward
    assert not one.step(0).skipped
    assert one.skipped_in_a_row == 0
    assert one.skipped == 1


def test_too_many_such_steps_end_the_run_with_a_message(pictures: Path) -> None:
    one = trainer(pictures, most_skipped=2)
    one.forward = lambda noisy, sigma: one.network(noisy * math.nan, sigma)
    one.step(0)
    one.step(0)
    with pytest.raises(TrainingError, match="3 steps in a row"):
        one.step(0)


def test_the_average_follows_the_network(pictures: Path) -> None:
    one = trainer(pictures)
    before = one.average["dncnns.0.0.weight"].clone()
    one.step(0.5)
    decay = min(RECIPE.ema, 2 / 11)
    expected = decay * before + (1 - decay) * one.network.state_dict()["dncnns.0.0.weight"]
    torch.testing.assert_close(one.average["dncnns.0.0.weight"], expected)


def test_the_seed_alone_decides(pictures: Path) -> None:
    torch.manual_seed(1)
    first = trainer(pictures)
    torch.manual_seed(2)
    second = trainer(pictures)
    assert first.step(0) == second.step(0)


def test_the_command_trains_tunes_and_says_what_is_wrong(pictures: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_weights(start, TINY, Trainer(ImageSet.read([pictures]), TINY, RECIPE, torch.device("cpu")).average, (0, 75), {})
    run = ["train", str(pictures), "-o", str(tmp_path / "run"), "--crop", "40", "--batch", "1", "--device", "cpu"]
    done = CliRunner().invoke(app, [*run, "--from", str(start), "--sigma", "25", "--steps", "2"])
    assert done.exit_code == 0, done.output
    assert "step 2 · finished" in done.output
    assert load_weights(tmp_path / "run" / "weights.safetensors").sigma_range == (25.0, 25.0)
    failed = CliRunner().invoke(app, run)
    assert failed.exit_code == 2
    assert "training needs an end" in failed.output


def test_the_command_trains_a_network_without_neighbors(pictures: Path, tmp_path: Path) -> None:
    run = ["train", str(pictures), "-o", str(tmp_path), "--model", "dncnn", "--relaxation", "paper"]
    done = CliRunner().invoke(app, [*run, "--crop", "16", "--batch", "1", "--steps", "1", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert load_weights(tmp_path / "weights.safetensors").config == replace(NETWORKS["dncnn"], relaxation="paper")


@pytest.mark.filterwarnings("ignore:<class 'torch.autograd.function.Function'>:DeprecationWarning")  # the compiler's own doing
def test_a_compiler_can_trace_the_network(pictures: Path) -> None:
    one, traced = trainer(pictures), trainer(pictures)
    torch.compiler.reset()
    traced.forward = torch.compile(traced.network, backend="aot_eager", fullgraph=True)  # what compilers ask for, without one
    assert traced.step(0).loss == pytest.approx(one.step(0).loss, rel=1e-4)


def test_frozen_statistics_stay(pictures: Path) -> None:
    recipe = replace(RECIPE, freeze_statistics=True)
    frozen = Trainer(ImageSet.read([pictures]), replace(TINY, depth=3), recipe, torch.device("cpu"))
    before = {key: value.clone() for key, value in frozen.network.named_buffers()}
    frozen.step(0)
    assert before
    assert all(torch.equal(value, before[key]) for key, value in frozen.network.named_buffers())


@pytest.mark.slow
def test_a_minute_of_training_as_a_user_would_try_it(pictures: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", str(pictures), "-o", str(tmp_path), "--max-minutes", "1"])
    assert done.exit_code == 0, done.output
    weights = load_weights(tmp_path / "weights.safetensors")
    assert weights.config == N3NetConfig()
    assert all(value.isfinite().all() for value in weights.state.values())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("compiled", [False, True])
def test_learns_on_a_gpu(pictures: Path, tmp_path: Path, compiled: bool) -> None:
    recipe = replace(RECIPE, steps=60, batch=4, learning_rate=5e-3, warmup_steps=5, sigma_range=(50, 50))
    train([pictures], tmp_path, recipe, config=TINY, device="cuda", log_steps=10, compiled=compiled)
    assert float(rows(tmp_path)[-1]["loss"]) < math.log((50 / 255) ** 2) - 0.7
