"""`n3denoise train`: it trains, fine-tunes, and explains its errors."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.networks.config import DEFAULT_CONFIGS
from models.networks.n3net import N3NetConfig
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
    failed = CliRunner().invoke(app, run)
    assert failed.exit_code == 2
    assert "training needs an end" in failed.output


def test_the_command_trains_a_network_without_neighbors(pictures: Path, tmp_path: Path) -> None:
    run = ["train", str(pictures), "-o", str(tmp_path), "--model", "dncnn", "--relaxation", "paper"]
    done = CliRunner().invoke(app, [*run, "--crop", "16", "--batch", "1", "--steps", "1", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert load_weights(tmp_path / "weights.safetensors").config == replace(DEFAULT_CONFIGS["dncnn"], relaxation="paper")


@pytest.mark.slow
def test_a_minute_of_training_as_a_user_would_try_it(pictures: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", str(pictures), "-o", str(tmp_path), "--max-minutes", "1"])
    assert done.exit_code == 0, done.output
    weights = load_weights(tmp_path / "weights.safetensors")
    assert weights.config == N3NetConfig()
    assert all(value.isfinite().all() for value in weights.state.values())
