"""The noise estimate against known noise, on photographs from scikit-image."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from skimage.restoration import estimate_sigma

from models.images.noise_level import SIDES, WARNINGS, _flat_texture, estimate_noise

Gray = NDArray[np.float64]


def camera(size: int = 192) -> Gray:
    return np.asarray(data.camera()[:size, :size] / 255.0)


def grass() -> Gray:
    """Return an image with texture everywhere, which a wavelet estimate mistakes for noise."""
    return np.asarray(data.grass()[:192, :192] / 255.0)


def noisy(clean: Gray, sigma: float, seed: int = 0) -> Gray:
    return clean + np.random.default_rng(seed).standard_normal(clean.shape) * sigma / 255


def smooth(size: int = 160) -> Gray:
    return np.add.outer(np.linspace(0.2, 0.5, size), np.linspace(0, 0.3, size))


@pytest.mark.parametrize("sigma", [5, 15, 25, 50, 75])
@pytest.mark.parametrize("clean", [camera(), smooth(), np.full((96, 128), 0.4)], ids=["photograph", "smooth", "pure noise"])
def test_the_estimate_is_within_five_percent_or_one_level(clean: Gray, sigma: float) -> None:
    estimate = estimate_noise(noisy(clean, sigma))
    assert estimate.sigma * 255 == pytest.approx(sigma, abs=max(1.0, 0.05 * sigma))
    assert estimate.confidence > 0.8
    assert estimate.warnings == ()


@pytest.mark.parametrize("sigma", [10, 25])
def test_on_texture_it_beats_the_wavelet_estimate(sigma: float) -> None:
    image = noisy(grass(), sigma)
    ours = abs(estimate_noise(image).sigma * 255 - sigma)
    assert ours < abs(float(estimate_sigma(image)) * 255 - sigma)
    assert ours < 2


@pytest.mark.parametrize("clean", [camera(320), smooth(), np.full((64, 64), 0.3)])
def test_a_clean_picture_is_seen_as_one(clean: Gray) -> None:
    estimate = estimate_noise(clean)
    assert estimate.sigma * 255 < 1.5
    assert estimate.warnings == ("looks-clean",)


def jpeg(image: Gray, quality: int) -> Gray:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)) / 255.0


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_artifacts_of_jpeg_are_not_taken_for_noise(quality: int) -> None:
    assert estimate_noise(jpeg(camera(), quality)).sigma * 255 < 3


@pytest.mark.parametrize("quality", [75, 90, 100])
def test_noise_is_found_through_jpeg(quality: int) -> None:
    assert estimate_noise(jpeg(noisy(camera(), 25), quality)).sigma * 255 == pytest.approx(25, abs=2.5)


def test_texture_all_over_is_no_noise() -> None:
    estimate = estimate_noise(np.indices((64, 64)).sum(0) % 2 * 0.5 + 0.2)
    assert estimate.sigma * 255 < 1.5
    assert estimate.warnings == ("not-white",)


def test_noise_that_jpeg_has_hidden_is_not_called_clean() -> None:
    """Compression removes the fine details by which the noise would be recognized."""
    estimate = estimate_noise(jpeg(noisy(camera(), 10), 70))
    assert estimate.sigma * 255 < 3
    assert estimate.warnings == ("not-white",)


def test_noise_that_grows_with_brightness_is_told() -> None:
    clean = camera(256)
    photons = np.random.default_rng(1).poisson(clean * 60) / 60
    assert "signal-dependent" in estimate_noise(photons).warnings


def test_a_black_frame_changes_nothing() -> None:
    framed = np.zeros((300, 300))
    framed[60:240, 60:240] = noisy(camera(180), 20)
    assert estimate_noise(framed).sigma * 255 == pytest.approx(20, abs=1.5)


def test_the_scale_of_the_samples_does_not_matter() -> None:
    image = noisy(camera(), 20)
    assert estimate_noise(image * 0.1).sigma == pytest.approx(estimate_noise(image).sigma * 0.1, rel=1e-6)
    assert estimate_noise(image.astype(np.float32)).sigma == pytest.approx(estimate_noise(image).sigma, rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5, 9), (2, 100)])
def test_a_picture_too_small_to_tell_says_so(shape: tuple[int, int]) -> None:
    estimate = estimate_noise(np.random.default_rng(0).random(shape))
    assert (estimate.sigma, estimate.confidence, estimate.warnings) == (0, 0, ("too-small",))


@pytest.mark.parametrize("size", [14, 20, 32, 48])
def test_small_pictures_are_told_roughly(size: int) -> None:
    levels = [estimate_noise(noisy(np.full((size, size), 0.5), 25, seed)).sigma * 255 for seed in range(5)]
    assert np.mean(levels) == pytest.approx(25, rel=0.2)


@pytest.mark.parametrize("side", SIDES)
def test_nearly_all_patches_of_noise_count_as_flat(side: int) -> None:
    patches = np.random.default_rng(2).standard_normal((20000, side, side))
    across, down = np.diff(patches[:, :, ::1], axis=2), np.diff(patches, axis=1)
    central = (across[:, :, 1:] + across[:, :, :-1]) / 2, (down[:, 1:] + down[:, :-1]) / 2
    texture = sum(np.square(part).sum((1, 2)) for part in central)
    assert np.mean(texture < _flat_texture(side)) > 0.995


def test_every_warning_has_its_words() -> None:
    assert {"too-small", "looks-clean", "not-white", "signal-dependent", "out-of-range"} == set(WARNINGS)
