"""Tests that the network hardly changes an image with little or no noise."""

import numpy as np
import pytest
import torch
from skimage import data

from models.images.metrics import psnr
from models.images.noise import add_noise
from models.inference.denoiser import Denoiser


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser.load(device="cpu")


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
