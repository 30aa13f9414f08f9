"""The color planes: invertible, with independent noise of known strength."""

import numpy as np

from models.images.color import NOISE, merge, separate


def test_merging_undoes_separating() -> None:
    rgb = np.random.default_rng(0).random((3, 17, 9)).astype(np.float32)
    assert np.allclose(merge(separate(rgb)), rgb, atol=1e-6)


def test_noise_is_as_strong_as_stated_and_independent() -> None:
    noise = np.random.default_rng(1).standard_normal((3, 300, 300)).astype(np.float32)
    covariance = np.cov(separate(noise).reshape(3, -1))
    assert np.allclose(covariance, np.diag(NOISE**2), atol=0.02)
    assert np.allclose(NOISE, [3**-0.5, 1, 1])


def test_gray_has_its_value_as_luma_and_nothing_else() -> None:
    gray = np.random.default_rng(2).random((5, 4)).astype(np.float32)
    planes = separate(np.stack([gray] * 3))
    assert np.allclose(planes[0], gray)
    assert np.allclose(planes[1:], 0.5)
