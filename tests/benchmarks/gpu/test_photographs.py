"""Tests of the training for photographs on a GPU, on the CPU: the pool of simulated pictures, and a short training."""

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.gpu import photographs
from benchmarks.gpu.photographs import AT_ONCE, SIDE, Pool, simulate, train_photographs
from models.images.noise_map import measured_map
from models.networks.n3unet import N3UNetConfig
from models.networks.noise_level_net import NoiseLevelConfig, NoiseLevelNet
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.trainer import fresh_network
from models.weights.files import load_weights, save_weights


@pytest.fixture(scope="module")
def images() -> ImageSet:
    y, x = np.mgrid[:330, :340]
    waves = [128 + 60 * np.sin(0.07 * x + phase) * np.sin(0.05 * y) for phase in (0, 1, 2)]
    return ImageSet([np.stack(waves, -1).astype(np.uint8)])


@pytest.fixture(scope="module")
def pool(images: ImageSet) -> Iterator[Pool]:
    context = multiprocessing.get_context("spawn")
    queue: Queue[Tensor] = context.Queue(2)
    process = context.Process(target=simulate, args=(images, 0, queue), daemon=True)
    process.start()
    pool = Pool(torch.device("cpu"), queue)
    pool.receive(3 * AT_ONCE)
    yield pool
    process.terminate()
    process.join()


def test_a_batch_is_cut_from_simulated_pictures(pool: Pool) -> None:
    assert pool.received >= 3 * AT_ONCE
    batch = pool.draw(8, 64, None)
    assert batch.clean.shape == batch.noisy.shape == batch.noise.shape == (8, 3, 64, 64)
    assert batch.sigma.shape == (8, 2, 64, 64)
    # Where the picture without noise is the target, the noise is the difference. Compression makes it another one.
    same = ((batch.noisy - batch.clean - batch.noise).abs().amax((1, 2, 3)) < 2e-3).sum()
    assert 1 <= same <= 8
    assert batch.noise.std() > 0.01


def test_a_whole_picture_comes_with_its_true_map(pool: Pool) -> None:
    batch = pool.draw(4, SIDE, None)
    cells = batch.sigma.unfold(2, 8, 8).unfold(3, 8, 8).mean((4, 5))
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(cells[inside], measured_map(batch.noise)[inside], rtol=0.1, atol=2e-3)


def test_some_crops_come_with_an_estimate(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    network = fresh_network(NoiseLevelConfig(filters=2, features=2).build, 0)
    monkeypatch.setattr(network, "estimate", lambda noisy: torch.full((len(noisy), 2, SIDE // 8, SIDE // 8), 7.0))
    told = (pool.draw(64, 16, network).sigma == 7).all(3).all(2).all(1)
    assert 0.4 < told.float().mean() < 0.8


@pytest.mark.slow
def test_a_short_training_writes_both_weights(images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "LOG_STEPS", 1)
    recipe = Recipe(noise="photographs", batch=2, crop=SIDE, freeze_statistics=True)
    starts: list[str] = []
    for config in (NoiseLevelConfig(filters=4, features=4), N3UNetConfig(channels=3, noise_planes=2, features=8, planes=4)):
        starts.append(str(tmp_path / f"start-{len(starts)}.safetensors"))
        save_weights(starts[-1], config, fresh_network(config.build, 0).state_dict(), (0, 75), {})
    images.save(tmp_path / "set.npz")
    train_photographs(
        [tmp_path / "set.npz"],
        tmp_path,
        starts=(starts[0], starts[1]),
        recipes=(recipe, replace(recipe, crop=64)),
        seconds=20,
        workers=1,
    )
    for name in ("noise-level", "photo"):
        weights = load_weights(tmp_path / f"{name}.safetensors")
        assert int(weights.facts["pictures"]) >= 128
        assert int(weights.facts["steps"]) > 0
    assert isinstance(load_weights(tmp_path / "noise-level.safetensors").network(), NoiseLevelNet)
