"""Fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.serving.tiny_weights import tiny_weights


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Undo after each test that loading a denoiser makes the thread, which is the next test's too, flush denormal numbers."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a weights file of a tiny network; no test changes it."""
    return tiny_weights(tmp_path_factory.mktemp("weights"))
