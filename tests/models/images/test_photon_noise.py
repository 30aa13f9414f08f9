"""The transform for photon noise against simulated counts, which share no code with it, and against a published inverse."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.images.photon_noise import PhotonNoise

DRAWS = 200_000


def noise(read_electrons: float, gain: float = 0.02, offset: float = 0.1) -> PhotonNoise:
    """Return noise whose read noise is given in electrons."""
    return PhotonNoise(gain, read_electrons * gain, offset)


def samples(model: PhotonNoise, electrons: float, seed: int = 0) -> NDArray[np.float64]:
    """Draw samples of one pixel with a mean number of electrons."""
    generator = np.random.default_rng(seed)
    read = model.read_noise * generator.standard_normal(DRAWS)
    return model.offset + model.gain * generator.poisson(electrons, DRAWS) + read


def mean_of(model: PhotonNoise, electrons: float) -> float:
    return model.offset + model.gain * electrons


@pytest.mark.parametrize("read", [0.0, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("electrons", [0.0, 0.5, 7.0, 1000.0])
def test_sigma_is_that_of_the_samples(read: float, electrons: float) -> None:
    model = noise(read)
    sigma = float(model.sigma(np.array(mean_of(model, electrons))))
    assert sigma == pytest.approx(samples(model, electrons).std(), rel=0.01)


def test_a_mean_below_the_offset_has_the_read_noise() -> None:
    assert float(noise(3.0).sigma(np.array(-5.0))) == pytest.approx(0.06)


@pytest.mark.parametrize("read", [0.0, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("electrons", [6.0, 30.0, 100.0, 3000.0])
def test_the_noise_of_the_transform_is_close_to_one(read: float, electrons: float) -> None:
    model = noise(read)
    assert model.stabilize(samples(model, electrons)).std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("read", [0.0, 0.3, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("electrons", [0.1, 0.5, 1.0, 3.0, 10.0, 60.0, 99.0, 101.0, 2000.0])
def test_the_inverse_has_no_bias(read: float, electrons: float) -> None:
    """The mean of the transform is known up to its standard error, and so is what the inverse makes of it."""
    model = noise(read)
    mean = model.stabilize(samples(model, electrons)).mean()
    standard_error = float(model.sigma(np.array(mean_of(model, electrons)))) / DRAWS**0.5
    assert float(model.restore(np.array(mean))) == pytest.approx(mean_of(model, electrons), abs=5 * standard_error)


def test_the_algebraic_inverse_has_a_bias() -> None:
    """The previous test fails for an inverse that only undoes the equation of the transform."""
    mean = noise(0.0, gain=1.0, offset=0.0).stabilize(samples(noise(0.0, gain=1.0, offset=0.0), 2.0)).mean()
    assert abs((mean / 2) ** 2 - 3 / 8 - 2.0) > 0.1


def test_without_read_noise_it_is_the_published_inverse() -> None:
    """Compare with the closed form of Mäkitalo and Foi (2011), which approximates the exact inverse."""
    values = np.linspace(2 * np.sqrt(3 / 8), 60, 2001)
    closed = values**2 / 4 + np.sqrt(3 / 2) / 4 / values - 11 / 8 / values**2 + 5 / 8 * np.sqrt(3 / 2) / values**3 - 1 / 8
    found = PhotonNoise(1.0).restore(values)
    assert np.abs(found - np.maximum(closed, 0)).max() < 0.02, "electrons"


@pytest.mark.parametrize("read", [0.0, 1.0, 20.0])
def test_the_inverse_rises_steadily_from_the_offset(read: float) -> None:
    model = noise(read)
    low, high = (float(model.stabilize(np.array(mean_of(model, electrons)))) for electrons in (-50.0, 200.0))
    restored = model.restore(np.linspace(low, high, 20_001))
    assert restored[0] == model.offset
    assert np.diff(restored).min() >= 0
    many = restored > mean_of(model, 50.0)
    assert np.abs(np.diff(restored[many], 2)).max() < 1e-3 * model.gain, "there is no jump where the table ends"


def test_noise_that_hardly_depends_on_the_signal_is_only_scaled() -> None:
    """The read noise is that of many thousand electrons, so there is no change to undo."""
    model = PhotonNoise(1e-6, 0.1)
    values = np.linspace(-0.3, 1.3, 50)
    assert np.diff(model.stabilize(values)) == pytest.approx(np.diff(values) / 0.1, rel=1e-3)
    assert model.restore(model.stabilize(values))[values > 0] == pytest.approx(values[values > 0], abs=1e-6)
