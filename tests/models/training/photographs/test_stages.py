"""What each stage of a simulated camera does to pictures and to noise."""

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import color as skimage_color

from models.images import color
from models.training.photographs import tone
from models.training.photographs.processing import Compression, downscale, sharpen, smooth
from models.training.photographs.sensor import ColorResponse, Demosaicking, SensorNoise, demosaic, mosaic

Planes = NDArray[np.float32]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def white(side: int = 256) -> Planes:
    return 0.02 * rng().standard_normal((3, side, side), np.float32)


def correlation(noise: Planes, rows: int, columns: int) -> float:
    """Return the correlation of noise with itself, shifted by this many pixels."""
    ahead = noise[..., rows:, columns:]
    behind = noise[..., : noise.shape[-2] - rows, : noise.shape[-1] - columns]
    return float(np.corrcoef(ahead.ravel(), behind.ravel())[0, 1])


def test_the_transfer_function_is_that_of_srgb() -> None:
    srgb = rng().random((3, 8, 8)).astype(np.float32)
    xyz = skimage_color.rgb2xyz(srgb.transpose(1, 2, 0))
    linear = np.linalg.solve(skimage_color.colorconv.xyz_from_rgb, xyz.reshape(-1, 3).T).reshape(3, 8, 8)
    np.testing.assert_allclose(tone.to_linear(srgb), linear, atol=1e-5)
    np.testing.assert_allclose(tone.to_srgb(tone.to_linear(srgb)), srgb, atol=1e-5)


def test_contrast_can_be_removed() -> None:
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    np.testing.assert_allclose(tone.add_contrast(tone.remove_contrast(values)), values, atol=1e-5)
    assert tone.add_contrast(np.array([0.25, 0.75], np.float32)).tolist() == pytest.approx([0.15625, 0.84375])


def test_a_tone_curve_makes_noise_stronger_in_the_dark() -> None:
    noise = 0.001 * rng().standard_normal(10_000)
    dark, bright = (tone.to_srgb((level + noise).astype(np.float32)) for level in (0.05, 0.8))
    assert dark.std() > 3 * bright.std()


def test_a_color_response_keeps_gray_and_can_be_undone() -> None:
    response = ColorResponse.draw(rng())
    picture = rng().random((3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(response.to_srgb_linear(response.to_sensor(picture)), picture, atol=1e-5)
    gray = np.full((3, 2, 2), 0.5, np.float32)
    np.testing.assert_allclose(response.matrix @ gray[:, 0, 0], gray[:, 0, 0], atol=1e-6)
    assert (response.to_sensor(picture) >= 0).all()
    assert response.to_sensor(picture).max() <= 1


def test_a_color_response_makes_the_noise_of_the_channels_dependent() -> None:
    response = ColorResponse(saturation=0.6, gains=(2.0, 1.0, 1.6), exposure=0.8)
    noise = response.to_srgb_linear(white())
    assert np.corrcoef(noise[0].ravel(), noise[1].ravel()).item(1) < -0.1
    assert noise.std() > 2 * 0.02  # saturation and gains amplify noise


def test_the_variance_of_sensor_noise_is_linear_in_the_light() -> None:
    noise = SensorNoise(shot=0.01, read=1e-4)
    for level in (0.0, 0.2, 0.9):
        noisy = noise.add(np.full((3, 200, 200), level, np.float32), rng())
        assert noisy.mean() == pytest.approx(level, abs=2e-3)
        assert noisy.var() == pytest.approx(0.01 * level + 1e-4, rel=0.03)


def test_drawn_noise_covers_the_range_of_real_sensors() -> None:
    generator = rng()
    drawn = [SensorNoise.draw(generator) for _ in range(2000)]
    shots = np.array([each.shot for each in drawn])
    assert shots.min() >= 1e-4
    assert shots.max() <= 1.2e-2
    assert np.median(shots) == pytest.approx(np.sqrt(1e-4 * 1.2e-2), rel=0.2)
    slope, offset = np.polyfit(np.log(shots), np.log([each.read for each in drawn]), 1)
    assert slope == pytest.approx(2.18, abs=0.05)
    assert offset == pytest.approx(1.2, abs=0.3)


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("method", ["bilinear", "gradient"])
def test_demosaicking_keeps_what_was_measured_and_smooth_pictures(corner: tuple[int, int], method: Demosaicking) -> None:
    rows, columns = np.mgrid[:24, :24].astype(np.float32) / 24
    ramp = np.stack((rows, 0.5 * columns + 0.2, 0.9 - 0.4 * rows))
    inner = (slice(None), slice(4, -4), slice(4, -4))
    raw = mosaic(ramp, corner)
    np.testing.assert_allclose(demosaic(raw, corner, method)[inner], ramp[inner], atol=1e-5)
    assert np.isclose(raw[corner], ramp[0][corner])  # a red pixel
    again = mosaic(demosaic(mosaic(white(24), corner), corner, method), corner)
    np.testing.assert_allclose(again[4:-4, 4:-4], mosaic(white(24), corner)[4:-4, 4:-4], atol=1e-6)


def test_the_gradient_method_is_better_than_the_bilinear_one_on_a_photograph() -> None:
    from skimage import data

    picture = (data.astronaut().transpose(2, 0, 1) / 255).astype(np.float32)
    errors = [
        np.square(demosaic(mosaic(picture, (0, 0)), (0, 0), method) - picture).mean() for method in ("bilinear", "gradient")
    ]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("method", ["bilinear", "gradient"])
def test_demosaicking_correlates_noise_between_pixels(method: Demosaicking) -> None:
    noise = demosaic(mosaic(white(), (0, 0)), (0, 0), method)
    assert abs(correlation(white(), 0, 1)) < 0.02
    assert correlation(noise[0], 0, 1) > 0.2
    assert correlation(noise[0], 0, 3) < 0.1


def test_smoothing_makes_the_noise_of_color_coarser_than_that_of_luma() -> None:
    luma, *differences = color.separate(smooth(white(), 0.5, 2.0))
    assert correlation(luma, 0, 1) < 0.4
    assert min(correlation(plane, 0, 1) for plane in differences) > 0.9
    assert differences[0].std() < 0.5 * luma.std()


def test_sharpening_amplifies_noise_and_makes_neighbors_differ() -> None:
    noise = sharpen(0.5 + white(), 1.0, 1.0) - 0.5
    assert noise.std() > 1.5 * 0.02
    assert correlation(noise, 0, 1) < -0.05


def test_downscaling_makes_noise_weaker_and_keeps_the_mean() -> None:
    picture = downscale(0.5 + white(), 0.5)
    assert picture.shape == (3, 128, 128)
    assert picture.mean() == pytest.approx(0.5, abs=1e-3)
    assert picture.std() < 0.7 * 0.02
    assert abs(correlation(picture - 0.5, 0, 2)) < 0.1


def test_compression_removes_weak_noise_and_halves_the_resolution_of_color() -> None:
    picture = np.float32(0.5) + white() / np.float32(4)
    coarse = Compression(60, halved=True, offset=(0, 0)).apply(picture) - 0.5
    fine = Compression(100, halved=False, offset=(0, 0)).apply(picture) - 0.5
    assert coarse.std() < 0.5 * fine.std()
    strong = np.float32(0.5) + 5 * white()
    differences = [color.separate(Compression(95, halved, (0, 0)).apply(strong))[1] - 0.5 for halved in (False, True)]
    assert differences[1].std() < 0.7 * differences[0].std()
    assert correlation(differences[1], 0, 1) > correlation(differences[0], 0, 1) + 0.3


def test_blocks_begin_at_the_offset() -> None:
    picture = 0.5 + 5 * white(64)
    shifted = Compression(50, halved=False, offset=(3, 5)).apply(picture)
    assert shifted.shape == picture.shape
    inner = Compression(50, halved=False, offset=(0, 0)).apply(np.ascontiguousarray(picture[:, 5:, 3:]))
    # With an offset of 3 rows, the first whole block begins after five rows of the picture.
    np.testing.assert_allclose(shifted[:, 5 : 5 + 48, 3 : 3 + 48], inner[:, :48, :48], atol=1.5 / 255)
