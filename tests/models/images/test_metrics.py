"""PSNR and SSIM against scikit-image and against the formula."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio

from models.images.metrics import psnr, ssim
from models.images.noise import add_noise


def ssim_formula(x: np.ndarray, y: np.ndarray) -> float:
    """Compute Eq. 13 of Wang et al. (2004), for the pixels whose 11 x 11 window lies inside the image."""

    def blur(image: np.ndarray) -> np.ndarray:
        blurred: np.ndarray = gaussian_filter(image, 1.5, truncate=3.5)
        return blurred

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    values = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(values[5:-5, 5:-5].mean())


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.3])
def test_against_independent_oracles(sigma: float) -> None:
    clean = torch.linspace(0, 1, 40 * 33).view(40, 33)
    noisy = add_noise(clean, sigma, seed=0)
    x, y = noisy.double().numpy(), clean.double().numpy()
    assert psnr(noisy, clean) == pytest.approx(peak_signal_noise_ratio(y, x, data_range=1), abs=1e-9)
    assert ssim(noisy, clean) == pytest.approx(ssim_formula(x, y), abs=1e-7)


def test_of_an_image_with_itself() -> None:
    image = torch.rand(16, 16)
    assert psnr(image, image) == math.inf
    assert ssim(image, image) == pytest.approx(1)


def test_one_gray_level_off() -> None:
    image = torch.full((16, 16), 0.5)
    assert psnr(image + 1 / 255, image) == pytest.approx(20 * math.log10(255), abs=1e-3)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_refuses_other_shapes(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="shapes differ"):
        metric(torch.zeros(16, 16), torch.zeros(1, 16, 16))
