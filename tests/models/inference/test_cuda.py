"""Tests that a GPU gives the results of the CPU. They are skipped without a GPU."""

import pytest
import torch

from models.inference.cut_plan import Plan, cut_panels
from models.inference.denoiser import Denoiser
from models.inference.device import DType
from models.steps import run_through
from tests.support.networks import random_image, random_weights

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
SIZES = [(512, 512), (97, 401), (7, 5), (300, 21)]


@pytest.fixture(scope="module")
def on_cpu() -> Denoiser:
    return Denoiser.load(device="cpu", dtype="float32")


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_float32_on_the_gpu_is_float32_on_the_cpu(size: tuple[int, int], fused: bool, on_cpu: Denoiser) -> None:
    denoiser = Denoiser.load(device="cuda", dtype="float32")
    assert denoiser.unfused_reason is None
    noisy = random_image(*size)
    denoised = run_through(denoiser.planned_steps(noisy, 0.1, denoiser.plan(*size, fused=fused)))
    torch.testing.assert_close(denoised, on_cpu.denoise(noisy, 0.1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("size", SIZES)
def test_half_precision_is_close(dtype: DType, size: tuple[int, int], on_cpu: Denoiser) -> None:
    noisy = random_image(*size)
    difference = Denoiser.load(device="cuda", dtype=dtype).denoise(noisy, 0.1) - on_cpu.denoise(noisy, 0.1)
    assert difference.square().mean().sqrt() < 3e-3


def test_the_cut_does_not_matter() -> None:
    denoiser = Denoiser.load(device="cuda", dtype="float32")
    noisy = random_image(131, 700)
    whole = denoiser.denoise(noisy, 0.1)
    panels = tuple(cut_panels(denoiser.footprint, 700, 500))
    torch.testing.assert_close(
        run_through(denoiser.planned_steps(noisy, 0.1, Plan(panels, 30, 4, 1, fused=True))), whole, atol=1e-5, rtol=0
    )


def test_the_fused_block_has_the_paper_form() -> None:
    weights = random_weights(1, relaxation="paper", planes=2)
    noisy = random_image(61, 47)
    images = [Denoiser(weights, torch.device(device), torch.float32, 1 << 28).denoise(noisy, 0.1) for device in ("cuda", "cpu")]
    torch.testing.assert_close(*images, atol=1e-3, rtol=1e-3)
