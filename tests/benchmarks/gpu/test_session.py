"""Tests of the commands for a GPU, on the CPU: checks and their verdicts, the probe, and a resumed training session."""

import contextlib
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.cuda import SIGMA, OnDevice, denoise_on_device
from benchmarks.gpu import training
from benchmarks.gpu.pictures import picture
from benchmarks.gpu.session import main
from benchmarks.gpu.smoke import Check, smoke
from benchmarks.gpu.time_limit import OutOfTime, time_limit
from models.inference.denoiser import Denoiser
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.run import TrainingResult
from models.training.trainer import Trainer
from models.weights.files import load_weights


def test_a_check_passes_up_to_its_limit(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> float:
        raise RuntimeError("no kernel")

    assert Check("near", lambda: 0.5, 0.5).passes()
    assert not Check("far", lambda: 0.6, 0.5).passes()
    assert not Check("unknown", lambda: float("nan"), 0.5).passes()
    assert not Check("broken", broken, 0.5).passes()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["PASS", "FAIL", "FAIL", "FAIL"]
    assert "0.6 (at most 0.5)" in lines[1]
    assert "no kernel" in lines[3]


def test_a_smoke_test_that_is_out_of_time_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert not smoke("cpu", 0)
    assert "out of time" in capsys.readouterr().out


@pytest.mark.slow
def test_the_smoke_test_passes_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smoke", "--device", "cpu", "--seconds", "600"]) == 0
    assert "11 of 11 checks passed" in capsys.readouterr().out


def test_a_time_limit_ends_a_block_that_catches_every_exception() -> None:
    def stubborn() -> None:
        while True:
            with contextlib.suppress(Exception):
                time.sleep(1)

    with pytest.raises(OutOfTime), time_limit(0.01):
        stubborn()


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "set.npz"
    ImageSet([np.zeros((30, 40), np.uint8)]).save(path)
    return path


@pytest.mark.parametrize(
    ("speeds", "compiled", "choice"),
    [
        ({8: 100, 16: 190, 32: 230, 64: 240}, 500, (32, True)),
        ({8: 100, 16: 110, 32: 120, 64: 120}, 90, (8, False)),
        ({8: 100, 16: 190}, 0, (16, False)),
    ],
)
def test_the_probe_prefers_the_smallest_batch_that_is_nearly_the_fastest(
    speeds: dict[int, float],
    compiled: float,
    choice: tuple[int, bool],
    packed: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch without a speed does not fit into the memory."""

    def speed(trainer: Trainer, seconds: float) -> float:
        assert seconds == 37.5
        if trainer.recipe.batch not in speeds:
            raise torch.OutOfMemoryError
        return speeds[trainer.recipe.batch]

    def compiled_speed(images: list[Path], start: str, recipe: Recipe, device: str, seconds: float) -> float:
        assert (images, start, recipe.batch, device) == ([packed], str(weights), choice[0], "cpu")
        assert 0 < seconds < 600
        return compiled

    monkeypatch.setattr(training, "crops_per_second", speed)
    monkeypatch.setattr(training, "compiled_crops_per_second", compiled_speed)
    assert training.probe([packed], str(weights), Recipe(), "cpu", 600, [8, 16, 32, 64]) == choice


def test_training_does_without_compiling_that_takes_too_long_or_fails(
    packed: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert training.compiled_crops_per_second([packed], str(weights), Recipe(), "cpu", 0) == 0
    assert training.compiled_crops_per_second([packed], str(weights), Recipe(crop=31), "cpu", 300) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "probe: compiling takes too long"
    assert lines[1] == "probe: compiling failed"
    assert "crops of 31 px do not fit" in lines[-1]


def session(images: Path, folder: Path, weights: Path, steps: int) -> TrainingResult:
    recipe = Recipe(crop=24, steps=steps)
    return training.train_session(
        [images], folder, start=str(weights), device="cpu", minutes=10, probe_seconds=0, batches=[2, 4], recipe=recipe
    )


def test_a_session_resumes_with_the_settings_of_the_first(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, folder = tmp_path / "set.npz", tmp_path / "run"
    ImageSet([np.zeros((30, 40), np.uint8)]).save(packed)
    first = session(packed, folder, weights, steps=2)
    assert first.progress.step == 2
    chosen = json.loads((folder / training.SETTINGS).read_text())
    assert (chosen["batch"], chosen["compiled"]) == (2, False)
    assert chosen["minutes"] < 10
    monkeypatch.setattr(training, "probe", None)
    assert session(packed, folder, weights, steps=4).progress.step == 4
    assert load_weights(folder / "weights.safetensors").facts["crops"] == "4 x 2 of 24 px"


@pytest.mark.parametrize("network", ["n3net", "n3unet"])
def test_denoising_on_the_device_gives_what_the_denoiser_gives(network: str) -> None:
    denoiser, noisy = Denoiser.load(network, device="cpu", dtype="float32"), picture(64, 80)
    image = OnDevice(noisy)
    denoise_on_device(denoiser, image, denoiser.plan(64, 80))
    torch.testing.assert_close(image.result, denoiser.denoise(noisy, SIGMA), atol=1e-5, rtol=0)
