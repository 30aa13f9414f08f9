"""Tests that the networks hardly change an image with little or no noise, and that a map of the noise level helps."""

import numpy as np
import pytest
import torch
from skimage import data

from models.images.metrics import psnr
from models.images.noise import add_noise
from models.inference.denoiser import Denoiser


@pytest.fixture(scope="module", params=["n3net", "n3unet"])
def denoiser(request: pytest.FixtureRequest) -> Denoiser:
    return Denoiser.load(request.param, device="cpu")


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    return torch.from_numpy(data.camera()[100:260, 150:310].astype(np.float32) / 255)


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
def test_a_clean_image_hardly_changes(denoiser: Denoiser, clean: torch.Tensor, sigma: float) -> None:
    assert float((denoiser.denoise(clean, sigma / 255) - clean).abs().mean()) * 255 <= 0.5


@pytest.mark.parametrize("sigma", [3, 5])
def test_denoising_weak_noise_raises_the_psnr(denoiser: Denoiser, clean: torch.Tensor, sigma: int) -> None:
    noisy = add_noise(clean, sigma / 255, 0)
    assert psnr(denoiser.denoise(noisy, sigma / 255), clean) > psnr(noisy, clean)


def test_a_map_of_two_noise_levels_beats_every_single_level(clean: torch.Tensor) -> None:
    denoiser = Denoiser.load("n3unet", device="cpu")
    level = torch.full(clean.shape, 10 / 255)
    level[:, clean.shape[1] // 2 :] = 40 / 255
    noisy = clean + level * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    best = max(psnr(denoiser.denoise(noisy, sigma / 255), clean) for sigma in range(10, 60, 5))
    assert psnr(denoiser.denoise(noisy, level), clean) > best + 0.5
