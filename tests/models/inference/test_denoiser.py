"""Tests of Denoiser with the shipped weights: quality, precision, sigma range, progress and errors."""

import numpy as np
import pytest
import torch
from skimage import data

from models.inference.denoiser import Denoiser
from models.weights.files import WeightsError
from tests.support.networks import random_image, random_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser.load(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    return torch.from_numpy(data.camera()[100:260, 150:310].astype(np.float32) / 255)


def psnr(image: torch.Tensor, reference: torch.Tensor) -> float:
    return float(-10 * (image - reference).square().mean().log10())


def test_the_shipped_weights_denoise(denoiser: Denoiser, clean: torch.Tensor) -> None:
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    for sigma, gain in ((15, 6.0), (25, 7.0), (50, 9.0)):
        noisy = clean + sigma / 255 * noise
        denoised = denoiser.denoise(noisy, sigma / 255)
        assert denoised.shape == noisy.shape
        assert denoised.dtype == torch.float32
        assert psnr(denoised, clean) > psnr(noisy, clean) + gain


def test_bfloat16_loses_almost_no_quality(denoiser: Denoiser, clean: torch.Tensor) -> None:
    noisy = clean + 25 / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    half = Denoiser.load(device="cpu", dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    assert abs(psnr(half.denoise(noisy, 25 / 255), clean) - psnr(denoiser.denoise(noisy, 25 / 255), clean)) < 0.01


def test_the_result_is_not_clipped() -> None:
    denoiser = Denoiser(random_weights(0), CPU, torch.float32, 1 << 28)
    assert denoiser.denoise(random_image(30, 30) * 4 - 2, 0.1).abs().max() > 1


def test_progress_rises_to_one() -> None:
    small = Denoiser(random_weights(0), CPU, torch.float32, 1 << 20)
    fractions, steps = [], small.steps(random_image(90, 60), 0.1)
    while (fraction := next(steps, None)) is not None:
        fractions.append(fraction)
    assert len(fractions) > 3
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_images_can_be_interleaved_and_stopped() -> None:
    small = Denoiser(random_weights(0), CPU, torch.float32, 1 << 20)
    images = [random_image(60, 50, seed) for seed in (1, 2)]
    expected = [small.denoise(image, 0.1) for image in images]
    abandoned = small.steps(images[0], 0.1)
    next(abandoned)
    abandoned.close()
    running = {index: small.steps(image, 0.1) for index, image in enumerate(images)}
    results = {}
    while running:
        for index in list(running):
            try:
                next(running[index])
            except StopIteration as stop:
                results[index] = stop.value
                del running[index]
    for index, image in enumerate(expected):
        assert torch.equal(results[index], image)


def test_loading_flushes_denormals_in_this_thread_and_its_workers() -> None:
    Denoiser.load(device="cpu", dtype="float32")
    denormal = torch.finfo(torch.float32).tiny / 4
    assert not torch.full((1 << 20,), denormal).mul_(1.5).any()


@pytest.mark.parametrize("noisy", [torch.zeros(3, 4, 4), torch.zeros(0, 4), torch.zeros(4, 4, dtype=torch.float64)])
def test_a_tensor_that_is_not_an_image_is_rejected_at_once(denoiser: Denoiser, noisy: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="an image must be"):
        denoiser.steps(noisy, 0.1)


@pytest.mark.parametrize("sigma", [-1 / 255, 75.5 / 255, float("nan"), float("inf")])
def test_sigma_out_of_range_is_rejected_and_the_range_is_stated(denoiser: Denoiser, sigma: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 75"):
        denoiser.denoise(torch.zeros(20, 20), sigma)


def test_the_range_includes_its_bounds(denoiser: Denoiser) -> None:
    for sigma in (0.0, 75 / 255, float(np.float32(75 / 255))):
        assert denoiser.denoise(torch.full((20, 20), 0.5), sigma).isfinite().all()


def test_loading_reports_what_is_wrong() -> None:
    with pytest.raises(WeightsError, match="no weights 'nothing'"):
        Denoiser.load("nothing", device="cpu")
    with pytest.raises(ValueError, match="budget"):
        Denoiser.load(device="cpu", memory_budget=0)
