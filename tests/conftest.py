"""What holds for every test."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Loading a denoiser has its thread flush denormals; the next test's thread, the same one, must know them again."""
    yield
    torch.set_flush_denormal(False)
