"""The model that enlarges pictures, in the backend: it is timed like the others, and tried again with less memory."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch

from models.inference.denoiser import Denoiser
from models.inference.upscaler import Upscaler
from models.steps import run_through
from service.engine.backend import Backend
from service.engine.throughput import USUAL_PIXELS
from service.errors import DeviceOutOfMemory
from service.settings import UPSCALE_MODEL
from tests.support.upscaling import random_upscaling_weights


class Hungry(Upscaler):
    """Runs out of memory unless its strips are small enough."""

    needed = 2

    def steps(self, noisy: torch.Tensor, sigma: float, factor: int, *, shrink: int = 1) -> Generator[float, None, torch.Tensor]:
        if shrink < self.needed:
            raise MemoryError
        return super().steps(noisy, sigma, factor, shrink=shrink)


@pytest.fixture(scope="module")
def upscaling_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_upscaling_weights(tmp_path_factory.mktemp("upscaling"))


def backend(weights: Path, upscaler: Upscaler, errors: list[str] | None = None) -> Backend:
    def load() -> Denoiser:
        return Denoiser.load(weights, "cpu", "float32")

    return Backend([load()], load, (errors if errors is not None else []).append, upscaler)


def test_it_is_one_of_the_models_and_can_be_timed(weights: Path, upscaling_weights: Path) -> None:
    loaded = backend(weights, Upscaler.load(upscaling_weights, "cpu", "float32"))
    assert [*loaded.models] == ["n3unet", UPSCALE_MODEL]
    pixels, seconds = loaded.time_pass(UPSCALE_MODEL)
    assert pixels == USUAL_PIXELS
    assert seconds > 0


def test_it_is_tried_again_with_smaller_strips(weights: Path, upscaling_weights: Path) -> None:
    plain, errors = Upscaler.load(upscaling_weights, "cpu", "float32"), list[str]()
    hungry = Hungry.load(upscaling_weights, "cpu", "float32", 2 * plain.least_budget)
    noisy = np.random.default_rng(0).uniform(0, 1, (40, 50)).astype(np.float32)
    result = run_through(backend(weights, hungry, errors).steps(noisy, 0.05, UPSCALE_MODEL, factor=3))
    assert np.abs(result - plain.upscale(torch.from_numpy(noisy), 0.05, 3).numpy()).max() <= 1e-5
    assert errors == ["out_of_memory"]
    hungry.needed = 3
    with pytest.raises(DeviceOutOfMemory):
        run_through(backend(weights, hungry, errors).steps(noisy, 0.05, UPSCALE_MODEL, factor=3))
    assert errors == ["out_of_memory"] * 3
