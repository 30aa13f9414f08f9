"""A denoiser whose every strip does what a test wants: wait, fail, run out of memory, give NaN."""

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from models.inference.cut_plan import Plan, make_plan
from models.networks.n3net import N3NetConfig
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
    plan: Plan | None


class Scripted:
    """Returns its input, in strips of 16 rows, and does before each strip what the script says."""

    device = torch.device("cpu")
    dtype = torch.float32
    fallback_reason: str | None = None

    def __init__(self, weights: Path, script: Callable[[Strip], object]) -> None:
        self.weights = load_weights(weights)
        self.script = script

    def steps(self, noisy: Tensor, sigma: float, plan: Plan | None = None) -> Generator[float, None, Tensor]:  # noqa: ARG002
        strips = -(-noisy.shape[0] // STRIP_ROWS)
        for index in range(strips):
            self.script(Strip(noisy, index, plan))
            yield (index + 1) / strips
        return noisy.clone()

    def plan(self, height: int, width: int, shrink: int = 1) -> Plan:
        return make_plan(N3NetConfig(), height, width, (1 << 28) // shrink)


def scripted(weights: Path, script: Callable[[Strip], object]) -> LoadBackend:
    """Return what an engine loads its backend with."""
    return lambda settings, on_error: Backend(  # noqa: ARG005
        {DEFAULT_MODEL: Scripted(weights, script)}, lambda: Scripted(weights, lambda _: None), on_error
    )


@dataclass
class Gate:
    """A script that holds images of one width up: every strip of theirs waits for `open`, and is noted.

    The self-test and the warm-up pass: the tests' images are 32 pixels wide, theirs are 88 and 256.
    """

    width: int = 32
    strips: list[int] = field(default_factory=list)  # the height of the image, strip by strip
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _open: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, strip: Strip) -> None:
        if strip.noisy.shape[1] == self.width:
            self.strips.append(strip.noisy.shape[0])
            self.arrived.release()
            assert self._open.acquire(timeout=PATIENCE)

    def open(self, strips: int = 1) -> None:
        """Let so many strips be computed."""
        self._open.release(strips)

    def wait(self) -> None:
        """Wait until one more strip has come to the gate."""
        assert self.arrived.acquire(timeout=PATIENCE)
