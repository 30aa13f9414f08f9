"""Structure in what was removed, against a loop over pixels, and for noise that is not white."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from service.denoising.structure import noise_share, shares, structure

Floats = NDArray[np.float64]
EVERYWHERE = (slice(None), slice(None))


def noise(side: int = 300, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((side, side))


def mean_around(plane: Floats, row: int, column: int, reach: int) -> float:
    padded = np.pad(plane, reach, mode="symmetric")
    return float(padded[row : row + 2 * reach + 1, column : column + 2 * reach + 1].mean())


def test_structure_is_what_the_formula_says() -> None:
    removed = noise(20) + np.linspace(-2, 2, 20)
    means = np.array([[mean_around(removed, row, column, 1) for column in range(20)] for row in range(20)])
    expected = np.empty_like(means)
    for row, column in np.ndindex(20, 20):
        in_means, in_all = (mean_around(each**2, row, column, 5) for each in (means, removed))
        expected[row, column] = means[row, column] * max(0, 1 - 0.25 * in_all / in_means)
    assert np.allclose(structure(removed, 0.25), expected)


@pytest.mark.parametrize("smoothing", [0, 0.5, 0.7, 1])
def test_noise_is_no_structure_however_it_was_smoothed(smoothing: float) -> None:
    removed = gaussian_filter(noise(), smoothing)
    share = noise_share([shares(removed, EVERYWHERE)])
    assert structure(removed, share).var() < 0.01 * removed.var()
    assert smoothing == 0 or structure(removed, 1 / 9).var() > 0.04 * removed.var(), "as it would be if taken for white noise"


def test_white_noise_has_a_ninth_of_its_energy_in_the_means() -> None:
    assert noise_share([shares(noise(), EVERYWHERE)]) == pytest.approx(1 / 9, rel=0.05)


def test_where_nothing_was_removed_there_is_no_share() -> None:
    assert not shares(np.zeros((30, 30)), EVERYWHERE).size
    assert noise_share([shares(np.zeros((30, 30)), EVERYWHERE)]) == pytest.approx(1 / 9)
    assert not structure(np.zeros((30, 30)), 1 / 9).any()
