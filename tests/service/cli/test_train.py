"""`n3denoise train`: it trains, fine-tunes, and explains its errors."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.networks.config import DEFAULT_CONFIGS
from models.networks.n3net import N3NetConfig
from models.training.image_set import ImageSet
from models.training.trainer import fresh_network
from models.weights.files import load_weights, save_weights
from service.__main__ import app
from tests.support.image_folders import draw_pictures
from tests.support.training import TINY


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


def test_the_command_trains_tunes_and_says_what_is_wrong(pictures: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_weights(start, TINY, fresh_network(TINY.build, seed=5).state_dict(), (0, 75), {})
    run = ["train", str(pictures), "-o", str(tmp_path / "run"), "--crop", "40", "--batch", "1", "--device", "cpu"]
    done = CliRunner().invoke(app, [*run, "--from", str(start), "--sigma", "25", "--steps", "2"])
    assert done.exit_code == 0, done.output
    assert "step 2 · finished" in done.output
    assert load_weights(tmp_path / "run" / "weights.safetensors").sigma_range == (25.0, 25.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["training needs an end", "--steps", "--max-minutes"]),
        (["--steps", "1", "--crop", "91"], ["crops of 91 px do not fit", "(--crop)"]),
        (["--steps", "1", "--sigma-range", "50", "0"], ["0 <= low <= high", "(--sigma-range)"]),
        (["--steps", "1", "--sigma", "-1"], ["0 <= low <= high", "(--sigma)"]),
        (["--steps", "1", "--sigma", "5", "--sigma-range", "0", "9"], ["not both"]),
        (["--steps", "1", "--ema", "1"], ["less than 1", "(--ema)"]),
        (["--steps", "1", "--from", "default", "--model", "dncnn"], ["another configuration", "(--from, --model, --relaxation)"]),
    ],
)
def test_an_error_names_the_option_and_shows_no_progress(
    options: list[str], words: list[str], pictures: Path, tmp_path: Path
) -> None:
    failed = CliRunner().invoke(app, ["train", str(pictures), "-o", str(tmp_path), "--device", "cpu", *options])
    assert failed.exit_code == 2, failed.output
    text = re.sub(r"[\s│]+", " ", failed.output)
    assert all(word in text for word in words), failed.output
    assert "loss" not in failed.output
    assert "nan" not in failed.output


def test_a_run_folder_with_another_recipe_names_what_differs(pictures: Path, tmp_path: Path) -> None:
    run = ["train", str(pictures), "-o", str(tmp_path), "--model", "dncnn", "--batch", "1", "--device", "cpu", "--steps", "1"]
    assert CliRunner().invoke(app, [*run, "--crop", "16"]).exit_code == 0
    failed = CliRunner().invoke(app, [*run, "--crop", "24"])
    assert failed.exit_code == 2
    assert "another recipe (crop = 16)" in failed.output
    assert "(--crop)" in failed.output


def test_weights_that_are_worse_than_the_noise_are_called_so(pictures: Path, tmp_path: Path) -> None:
    run = ["train", str(pictures), "--model", "dncnn", "--crop", "16", "--batch", "1", "--steps", "1", "--device", "cpu"]
    bad = CliRunner().invoke(app, [*run, "--sigma", "5", "-o", str(tmp_path / "bad")])
    assert bad.exit_code == 0, bad.output
    assert "worse than the noise: at sigma 5, they lower the PSNR" in bad.output
    tuned = ["--from", "dncnn", "--sigma", "25", "--learning-rate", "1e-6"]
    good = CliRunner().invoke(app, [*run[:2], *run[4:], *tuned, "-o", str(tmp_path / "good")])
    assert good.exit_code == 0, good.output
    assert "warning" not in good.output


def test_the_command_trains_a_network_without_neighbors(pictures: Path, tmp_path: Path) -> None:
    run = ["train", str(pictures), "-o", str(tmp_path), "--model", "dncnn", "--relaxation", "paper"]
    done = CliRunner().invoke(app, [*run, "--crop", "16", "--batch", "1", "--steps", "1", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    dncnn = DEFAULT_CONFIGS["dncnn"]
    assert isinstance(dncnn, N3NetConfig)
    assert load_weights(tmp_path / "weights.safetensors").config == replace(dncnn, relaxation="paper")


def test_the_command_trains_a_network_that_estimates_noise(tmp_path: Path) -> None:
    images = ImageSet([np.random.default_rng(0).integers(0, 256, (80, 90, 3)).astype(np.uint8)])
    images.save(tmp_path / "images.npz")
    run = ["train", str(tmp_path / "images.npz"), "-o", str(tmp_path / "run"), "--model", "noise-level", "--noise", "photographs"]
    run += ["--crop", "16", "--batch", "1", "--steps", "1", "--device", "cpu"]
    done = CliRunner().invoke(app, run)
    assert done.exit_code == 0, done.output
    assert load_weights(tmp_path / "run" / "weights.safetensors").config == DEFAULT_CONFIGS["noise-level"]
    refused = CliRunner().invoke(app, [*run, "--relaxation", "paper"])
    assert refused.exit_code == 2
    assert "selects no neighbors (--model, --relaxation)" in " ".join(refused.output.split())


def test_the_command_trains_and_tunes_a_network_that_enlarges(pictures: Path, tmp_path: Path) -> None:
    options = ["--sigma-range", "0", "25", "--crop", "20", "--batch", "1", "--steps", "1", "--device", "cpu"]
    done = CliRunner().invoke(app, ["train", str(pictures), "-o", str(tmp_path / "run"), "--model", "upscale", *options])
    assert done.exit_code == 0, done.output
    trained = load_weights(tmp_path / "run" / "weights.safetensors")
    assert trained.config == DEFAULT_CONFIGS["upscale"]
    assert "factors=(2, 3, 4)" in trained.facts["recipe"]
    tuned = ["train", str(pictures), "-o", str(tmp_path / "tuned"), "--from", str(tmp_path / "run" / "weights.safetensors")]
    done = CliRunner().invoke(app, [*tuned, *options])
    assert done.exit_code == 0, done.output
    assert load_weights(tmp_path / "tuned" / "weights.safetensors").config == DEFAULT_CONFIGS["upscale"]


@pytest.mark.slow
def test_a_minute_of_training_as_a_user_would_try_it(pictures: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", str(pictures), "-o", str(tmp_path), "--max-minutes", "1"])
    assert done.exit_code == 0, done.output
    weights = load_weights(tmp_path / "weights.safetensors")
    assert weights.config == N3NetConfig()
    assert all(value.isfinite().all() for value in weights.state.values())
