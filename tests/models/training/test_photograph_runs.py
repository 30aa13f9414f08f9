"""Training on simulated photographs, from images to weights files: a network that denoises, and one that estimates noise."""

import math
from pathlib import Path

import numpy as np
import pytest

from models.networks.n3unet import N3UNetConfig
from models.networks.noise_level_net import NoiseLevelConfig
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.run import TrainingOptions, TrainingResult, train
from models.weights.files import load_weights

RECIPE = Recipe(crop=32, batch=2, steps=4, noise="photographs", warmup_steps=2, seed=5)
UNET = N3UNetConfig(channels=3, noise_planes=2, features=6, planes=5, embedding=5, window=5, k=3)
ESTIMATOR = NoiseLevelConfig(filters=6, features=6, blocks=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    waves = np.sin(np.mgrid[:110, :120].sum(0) / 9)[..., None] * 60 + 128
    images = [np.clip(waves + rng.normal(0, 5, (110, 120, 3)), 0, 255).astype(np.uint8) for _ in range(2)]
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    ImageSet(images).save(path)
    return path


def run(pictures: Path, folder: Path, config: N3UNetConfig | NoiseLevelConfig, steps: int | None = None) -> TrainingResult:
    return train([pictures], folder, RECIPE, TrainingOptions(device="cpu", session_steps=steps), config=config)


@pytest.mark.parametrize("config", [UNET, ESTIMATOR], ids=["photo", "noise-level"])
def test_a_run_can_be_stopped_and_resumed(pictures: Path, tmp_path: Path, config: N3UNetConfig | NoiseLevelConfig) -> None:
    whole = run(pictures, tmp_path / "whole", config)
    assert not run(pictures, tmp_path / "parts", config, steps=1).finished
    parts = run(pictures, tmp_path / "parts", config)
    first, second = load_weights(whole.weights), load_weights(parts.weights)
    assert first.config == second.config == config
    assert all(bool((first.state[key] == second.state[key]).all()) for key in first.state)
    assert math.isfinite(whole.progress.loss)


def test_an_estimator_learns_how_strong_the_noise_is(pictures: Path, tmp_path: Path) -> None:
    recipe = Recipe(crop=32, batch=4, steps=60, noise="photographs", learning_rate=5e-3, warmup_steps=5, seed=5)
    losses = []
    train(
        [pictures],
        tmp_path / "run",
        recipe,
        TrainingOptions(device="cpu", log_steps=10),
        config=ESTIMATOR,
        report=lambda progress: losses.append(progress.loss),
    )
    assert losses[-1] < losses[0] - 0.5
