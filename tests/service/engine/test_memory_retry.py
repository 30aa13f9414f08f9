"""Whether a network that ran out of memory is tried again with half its budget."""

from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import torch

from models.inference.denoiser import Denoiser
from service.engine.backend import Backend
from service.settings import Settings
from tests.support.live import live, png, settings_for


@pytest.mark.parametrize(("factor", "tried"), [(1, [1]), (2, [1, 2])])
def test_half_a_budget_is_tried_only_if_it_is_enough(weights: Path, factor: int, tried: list[int]) -> None:
    shrinks: list[int] = []

    class Hungry(Denoiser):
        def steps(
            self, noisy: torch.Tensor, sigma: float | torch.Tensor, *, shrink: int = 1
        ) -> Generator[float, None, torch.Tensor]:
            if noisy.shape != (48, 32):
                return super().steps(noisy, sigma, shrink=shrink)
            shrinks.append(shrink)
            raise MemoryError

    def load() -> Denoiser:
        return Hungry.load(weights, "cpu", memory_budget=factor * Denoiser.load(weights, "cpu").least_budget)

    def make(_: Settings, on_error: Callable[[str], None]) -> Backend:
        return Backend([load()], load, on_error)

    with live(settings_for(weights), make) as service:
        answer = service.denoise(png(48, 32))
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:n3denoise:error:device-out-of-memory")
    assert shrinks == tried
