"""The estimate of photon noise against simulated counts of known gain and read noise."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage import data

from models.images.noise_level import WARNINGS as NOISE_WARNINGS
from models.images.photon_noise import PhotonNoise
from models.images.photon_noise_level import WARNINGS, estimate_photon_noise

Gray = NDArray[np.float64]


def scene() -> Gray:
    """Return a photograph in [0, 1], taken as the light of a scene."""
    return np.asarray(data.camera()[100:340, 100:340] / 255.0)


def counted(light: Gray, noise: PhotonNoise, seed: int = 0) -> Gray:
    """Return the samples of a sensor, with white at 1.0."""
    generator = np.random.default_rng(seed)
    samples = noise.gain * generator.poisson(light / noise.gain) + noise.offset
    return np.asarray(samples + noise.read_noise * generator.standard_normal(light.shape))


def error(found: PhotonNoise | None, true: PhotonNoise, light: Gray) -> float:
    """Return the root mean square of the relative error of the standard deviation over a picture."""
    assert found is not None
    means = light + true.offset
    return float(np.sqrt(np.mean(np.square(found.sigma(means) / true.sigma(means) - 1))))


NOISES = {
    "few photons": PhotonNoise(1 / 5),
    "few photons with read noise": PhotonNoise(1 / 5, 1 / 5),
    "photons": PhotonNoise(1 / 30, 1 / 30),
    "many photons": PhotonNoise(1 / 300, 3 / 300),
    "mostly read noise": PhotonNoise(1 / 1000, 30 / 1000),
    "offset": PhotonNoise(1 / 100, 1.6 / 100, 0.5),
}


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_the_noise_is_known_within_a_few_percent_at_every_brightness(noise: PhotonNoise) -> None:
    light = scene()
    estimate = estimate_photon_noise(counted(light, noise))
    assert error(estimate.noise, noise, light) < 0.07
    assert estimate.confidence > 0.9
    assert estimate.warnings == ()


def test_a_dim_16_bit_picture_is_enough() -> None:
    """A camera with an offset uses a fiftieth of the range, as cameras of microscopes often do."""
    noise = PhotonNoise(0.02 / 100, 0.02 * 1.6 / 100, 0.002)
    light = 0.02 * scene()
    samples = np.rint(counted(light, noise) * 65535) / 65535
    estimate = estimate_photon_noise(samples)
    assert error(estimate.noise, noise, light) < 0.05
    assert estimate.noise is not None
    apparent = noise.offset - noise.read_noise**2 / noise.gain  # the level at which the variance would be zero
    assert estimate.noise.offset == pytest.approx(apparent, rel=0.05)
    assert estimate.noise.read_noise == 0


@pytest.mark.parametrize("known", ["gain", "read_noise"])
def test_what_is_known_stays_and_the_rest_is_estimated(known: str) -> None:
    light, noise = scene(), PhotonNoise(1 / 50, 3 / 50)
    estimate = estimate_photon_noise(counted(light, noise), **{known: getattr(noise, known)})
    assert getattr(estimate.noise, known) == getattr(noise, known)
    assert error(estimate.noise, noise, light) < 0.03


def test_brightness_that_only_occurs_in_texture_does_not_mislead() -> None:
    """Next to strong texture, the noise cannot be seen."""
    ramp = np.tile(np.linspace(0.05, 0.95, 240), (240, 1))
    texture = gaussian_filter(np.random.default_rng(1).standard_normal((240, 240)), 0.7)
    light = ramp + 0.2 * texture * ((ramp > 0.35) & (ramp < 0.75))
    noise = PhotonNoise(1 / 2000)
    assert error(estimate_photon_noise(counted(light.clip(0, 1), noise)).noise, noise, ramp) < 0.05


def test_white_noise_has_hardly_any_gain() -> None:
    light = scene()
    white = PhotonNoise(1e-9, 10 / 255)
    estimate = estimate_photon_noise(light + 10 / 255 * np.random.default_rng(0).standard_normal(light.shape))
    assert error(estimate.noise, white, light) < 0.05
    assert estimate.noise is not None
    assert estimate.noise.gain > 0


def test_saturated_parts_are_left_out() -> None:
    light, noise = 2 * scene(), PhotonNoise(1 / 30)
    estimate = estimate_photon_noise(counted(light, noise).clip(0, 1))
    assert error(estimate.noise, noise, light.clip(0, 1)) < 0.1


def test_noise_that_falls_with_the_brightness_is_told() -> None:
    light = scene()
    curved = light + (1.2 - light) * 0.1 * np.random.default_rng(0).standard_normal(light.shape)
    estimate = estimate_photon_noise(curved)
    assert estimate.warnings == ("not-photon-noise",)


def test_a_clean_picture_has_hardly_any_noise() -> None:
    light = scene()
    estimate = estimate_photon_noise(light)
    assert estimate.noise is not None
    assert float(estimate.noise.sigma(light).max()) * 255 < 1


def test_noise_that_was_smoothed_is_told() -> None:
    smoothed = gaussian_filter(counted(scene(), PhotonNoise(1 / 30)), 1.0)
    assert estimate_photon_noise(smoothed).warnings == ("not-white",)


@pytest.mark.parametrize(("image", "code"), [(np.zeros((20, 25)), "too-small"), (np.full((200, 200), 0.5), "looks-clean")])
def test_without_noise_to_see_there_is_no_estimate(image: Gray, code: str) -> None:
    estimate = estimate_photon_noise(image)
    assert estimate.noise is None
    assert estimate.warnings == (code,)


def test_small_pictures_are_told_roughly() -> None:
    light, noise = np.tile(np.linspace(0.1, 1, 32), (32, 1)), PhotonNoise(1 / 50)
    errors = [error(estimate_photon_noise(counted(light, noise, seed)).noise, noise, light) for seed in range(5)]
    assert np.median(errors) < 0.25


def test_the_codes_of_warnings_are_new() -> None:
    assert not set(WARNINGS) & set(NOISE_WARNINGS)
