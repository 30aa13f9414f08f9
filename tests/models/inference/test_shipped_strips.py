"""The shipped N3UNet gives the same picture in one strip and in the smallest strips, at sizes of every kind."""

import pytest
import torch

from models.inference.cut_plan import Plan
from models.inference.denoiser import Denoiser
from models.steps import run_through
from tests.support.networks import random_image


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser.load("n3unet", device="cpu", dtype="float32")


def difference(denoiser: Denoiser, size: tuple[int, int], sigma: float | torch.Tensor) -> float:
    """Return the largest difference between one strip, in large batches, and strips of a single row, query by query."""
    noisy = random_image(*size)
    panels = denoiser.plan(*size).panels
    one, many = (
        run_through(denoiser.planned_steps(noisy, sigma, Plan(panels, rows, side, batch)))
        for rows, side, batch in ((1 << 20, 8, 8), (1, 4, 1))
    )
    return float((one - many).abs().max())


@pytest.mark.parametrize("size", [(97, 201), (1, 1), (7, 5), (3, 300)])
def test_small_pictures(denoiser: Denoiser, size: tuple[int, int]) -> None:
    assert difference(denoiser, size, 25 / 255) <= 1e-5
    level = torch.linspace(5 / 255, 60 / 255, size[1]).expand(size).contiguous()
    assert difference(denoiser, size, level) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("size", [(768, 1024), (321, 481), (1201, 97), (40, 3000)])
def test_large_pictures(denoiser: Denoiser, size: tuple[int, int]) -> None:
    assert difference(denoiser, size, 25 / 255) <= 1e-5
