"""A model whose strips do what a test wants: wait, fail, run out of memory, or return NaN."""

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from models.model_info import ModelInfo
from models.steps import run_through
from models.weights.files import load_weights
from service.engine.backend import Backend
from service.engine.engine import LoadBackend
from service.settings import DEFAULT_MODEL
from tests.support.live import PATIENCE

STRIP_ROWS = 16


@dataclass
class Strip:
    """What is about to be computed."""

    noisy: Tensor
    index: int
    shrink: int


class Scripted:
    """A method that returns its input in strips of 16 rows and runs the script before each strip."""

    fallback_reason: str | None = None
    can_shrink = True

    def __init__(self, weights: Path, script: Callable[[Strip], object]) -> None:
        self.weights = load_weights(weights)
        self.script = script

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(
            name=DEFAULT_MODEL,
            weights=self.weights.name,
            weights_sha256=self.weights.sha256,
            facts=dict(self.weights.facts),
            sigma_range=self.weights.sigma_range,
            device="cpu",
            device_name="CPU",
            dtype="float32",
            fallback_reason=self.fallback_reason,
        )

    def steps(self, noisy: Tensor, sigma: float, *, shrink: int = 1) -> Generator[float, None, Tensor]:  # noqa: ARG002
        strips = -(-noisy.shape[0] // STRIP_ROWS)
        for index in range(strips):
            self.script(Strip(noisy, index, shrink))
            yield (index + 1) / strips
        return noisy.clone()

    def denoise(self, noisy: Tensor, sigma: float) -> Tensor:
        return run_through(self.steps(noisy, sigma))


def scripted(weights: Path, script: Callable[[Strip], object]) -> LoadBackend:
    """Return what an engine loads its backend with."""
    return lambda settings, on_error: Backend(  # noqa: ARG005
        [Scripted(weights, script)], lambda: Scripted(weights, lambda _: None), on_error
    )


@dataclass
class Gate:
    """A script that stops images of one width: each of their strips is recorded and waits for `open`.

    The self-test and the warm-up pass, because their images are 88 and 256 pixels wide and those of the tests 32.
    """

    width: int = 32
    strips: list[int] = field(default_factory=list)  # the height of the image, for each strip
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _open: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, strip: Strip) -> None:
        if strip.noisy.shape[1] == self.width:
            self.strips.append(strip.noisy.shape[0])
            self.arrived.release()
            assert self._open.acquire(timeout=PATIENCE)

    def open(self, strips: int = 1) -> None:
        """Let the given number of strips be computed."""
        self._open.release(strips)

    def wait(self) -> None:
        """Wait until one more strip has reached the gate."""
        assert self.arrived.acquire(timeout=PATIENCE)
