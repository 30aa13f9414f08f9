"""Fixtures for all tests."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.serving.tiny_weights import tiny_weights
from tests.support.live import PATIENCE


def pytest_unconfigure() -> None:
    """Wait for compute threads that end soon: one that computes while the interpreter ends would abort the process."""
    end = time.monotonic() + PATIENCE
    for thread in threading.enumerate():
        if thread.name == "compute":
            thread.join(max(0.0, end - time.monotonic()))


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Undo after each test that loading a denoiser makes the thread, which is the next test's too, flush denormal numbers."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a weights file of a tiny network; no test changes it."""
    return tiny_weights(tmp_path_factory.mktemp("weights"))
