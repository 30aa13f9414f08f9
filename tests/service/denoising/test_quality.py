"""PSNR and SSIM of pictures against scikit-image's."""

import math
from dataclasses import replace

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from service.denoising.pipeline import DenoisedPicture
from service.denoising.quality import compare, matching_reference
from service.errors import ReferenceMismatch
from service.imaging.codec import decode, encode
from service.imaging.picture import DecodeLimits, Format, Picture


def picture(channels: int, seed: int, size: int = 24) -> Picture:
    planes = np.random.default_rng(seed).random((channels, size, size)).astype(np.float32)
    return Picture(planes, rgb=channels == 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif", "bmp", "tiff"])
def test_figures_are_scikit_images_on_what_is_returned(channels: int, kind: Format) -> None:
    clean, noisy, denoised = (picture(channels, seed) for seed in range(3))
    file = encode(denoised, kind)
    quality = compare(DenoisedPicture(denoised, noisy, 25, ()), decode(file, DecodeLimits()), clean)
    returned = decode(file, DecodeLimits()).planes[:channels]
    for measured, planes in ((quality.noisy, noisy.planes), (quality.floats, denoised.planes), (quality.denoised, returned)):
        assert measured.psnr == pytest.approx(peak_signal_noise_ratio(clean.planes, planes, data_range=1), abs=1e-4)
        expected = structural_similarity(
            clean.planes, planes, data_range=1, gaussian_weights=True, use_sample_covariance=False, channel_axis=0
        )
        assert measured.ssim == pytest.approx(expected, abs=1e-4)
    assert quality.gain.psnr == quality.denoised.psnr - quality.noisy.psnr
    assert quality.gain.ssim == (quality.denoised.ssim or 0) - (quality.noisy.ssim or 0)


def test_identical_pictures_have_no_gain_and_no_nan() -> None:
    clean = picture(1, 0)
    quality = compare(DenoisedPicture(clean, clean, 0, ()), clean, clean)
    assert quality.noisy.psnr == quality.denoised.psnr == math.inf
    assert quality.gain.psnr == 0


def test_small_pictures_have_no_ssim() -> None:
    clean, noisy = picture(1, 0, 10), picture(1, 1, 10)
    quality = compare(DenoisedPicture(clean, noisy, 0, ()), clean, clean)
    assert quality.noisy.ssim is quality.gain.ssim is None


def test_a_reference_may_have_another_format_and_depth_but_not_another_size() -> None:
    clean = picture(3, 0)
    other = decode(encode(replace(clean, format="tiff", depth="16")), DecodeLimits())
    assert np.allclose(matching_reference(other, clean).planes, clean.planes, atol=1e-5)
    assert matching_reference(other, picture(1, 1)).channels == 1, "turned to gray with the result"
    with pytest.raises(ReferenceMismatch, match="sizes must be equal"):
        matching_reference(picture(3, 0, 25), clean)
    with pytest.raises(ReferenceMismatch, match="channels"):
        matching_reference(picture(1, 0), clean)
