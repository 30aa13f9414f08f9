"""The choice between the models, and what is said about the noise that the network estimated."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.model_info import ModelInfo
from service.denoising.cells import LEAST_SIDE
from service.denoising.photographs import ModelChoice, channel_levels, denoise_estimated, find_noise
from service.denoising.pipeline import DenoisedPicture, DenoisingOptions, Pass
from service.imaging.picture import Picture, Plane
from tests.support.passes import advance

SIDE = 96
CELLS = SIDE // 8
OPTIONS = DenoisingOptions(None, "rgb")


def info(name: str, color: ModelInfo | None = None, channels: int = 1) -> ModelInfo:
    return ModelInfo(name, name, "0" * 64, {}, (0.0, 75.0), "cpu", "CPU", "float32", None, channels=channels, color=color)


WHITE, PHOTO = info("n3net"), info("photo", info("photo", channels=3))
AUTO = ModelChoice(WHITE, PHOTO, automatic=True)
ASKED = ModelChoice(WHITE, PHOTO, automatic=False)
ONLY_PHOTO = ModelChoice(PHOTO, info("photo", info("photo", channels=3)), automatic=False)  # equal, but not the same object


def picture(sigma: float, channels: int = 3, *, soft: bool = False) -> Picture:
    """Return a slope with white noise of this sigma on the 0-255 scale, or with noise that was smoothed."""
    noise = np.random.default_rng(0).standard_normal((channels, SIDE, SIDE)).astype(np.float32)
    if soft:
        noise = np.sum([np.roll(noise, shift, (1, 2)) for shift in ((0, 0), (0, 1), (1, 0), (1, 1))], 0)
    slope = np.linspace(0.3, 0.7, SIDE, dtype=np.float32)
    return Picture(slope + np.float32(sigma / 255) * noise, channels == 3)


def level_map(luma: float, difference: float) -> Plane:
    """Return a uniform map with levels on the 0-255 scale."""
    levels = np.empty((2, CELLS, CELLS), np.float32)
    levels[0], levels[1] = luma / 255, difference / 255
    return levels


def run(
    noisy: Picture, models: ModelChoice, levels: Plane, options: DenoisingOptions = OPTIONS
) -> tuple[list[Pass], DenoisedPicture]:
    """Answer the request for a map with these levels, and each pass with a plane of zeros."""
    passes: list[Pass] = []
    generator = denoise_estimated(noisy, options, models)
    step = advance(generator, None)
    while isinstance(step, Pass):
        passes.append(step)
        step = advance(generator, levels if step.sigma is None else np.zeros_like(step.plane))
    return passes, step


def white(sigma: float) -> Plane:
    return level_map(sigma / math.sqrt(3), sigma)


def test_the_first_pass_asks_the_network_for_a_map() -> None:
    passes, _ = run(picture(20), AUTO, white(20))
    assert passes[0].sigma is None
    assert passes[0].model == "photo"
    assert passes[0].plane.shape == (3, SIDE, SIDE)


def test_white_noise_goes_to_the_model_for_it_with_the_estimate_from_patches() -> None:
    passes, result = run(picture(20), AUTO, white(21))
    assert [each.model for each in passes[1:]] == [None, None, None]
    assert result.model is None
    assert result.sigma == pytest.approx(20, rel=0.05)
    assert result.warnings == ()


def test_noise_that_is_not_white_goes_to_the_model_for_photographs_with_its_map() -> None:
    levels = level_map(8, 12)
    _, result = run(picture(8, soft=True), AUTO, levels)
    passes, result = run(picture(8, soft=True), AUTO, levels)
    assert [each.model for each in passes[1:]] == ["photo"]
    np.testing.assert_array_equal(np.asarray(passes[1].sigma), levels)
    assert passes[1].plane.shape == (3, SIDE, SIDE)
    assert result.model == "photo"
    assert result.sigma == pytest.approx(math.sqrt((3 * 8**2 + 2 * 12**2) / 3), rel=1e-3)
    assert [each.sigma for each in result.sigmas] == pytest.approx([8, 12, 12], rel=1e-3)
    assert result.warnings == ()
    assert not result.picture.planes.any()
    assert result.cells is not None
    assert result.cells[0] == pytest.approx(np.full((CELLS, CELLS), 8), rel=1e-3)


def test_noise_that_depends_on_the_brightness_is_not_white() -> None:
    noise = np.random.default_rng(0).standard_normal((3, SIDE, SIDE)).astype(np.float32)
    slope = np.linspace(0.2, 0.8, SIDE, dtype=np.float32)
    bright = Picture(slope + np.linspace(10, 40, SIDE, dtype=np.float32) / np.float32(255) * noise, rgb=True)
    assert run(bright, AUTO, white(22))[1].model == "photo"


def test_noise_that_varies_is_not_white() -> None:
    levels = white(20)
    levels[:, : CELLS // 4] *= 4
    assert run(picture(20), AUTO, levels)[1].model == "photo"


def test_a_model_for_white_noise_that_was_asked_for_is_used_and_a_warning_says_that_it_does_not_suit() -> None:
    passes, result = run(picture(8, soft=True), ASKED, level_map(8, 12))
    assert [each.model for each in passes[1:]] == [None, None, None]
    assert [each.sigma for each in passes[1:]] == pytest.approx([8 / 255, 12 / 255, 12 / 255], rel=1e-3)
    assert result.warnings == ("not-white",)


def test_the_model_for_photographs_can_be_asked_for() -> None:
    assert [each.model for each in run(picture(20), ONLY_PHOTO, white(20))[0][1:]] == ["photo"]


@pytest.mark.parametrize("models", [AUTO, ASKED, ONLY_PHOTO])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_clean_picture_stays_as_it_is(models: ModelChoice, channels: int) -> None:
    noisy = picture(0.4, channels)
    passes, result = run(noisy, models, level_map(0.4, 0.4))
    assert len(passes) == 1
    assert result.warnings == ("looks-clean",)
    assert result.picture is result.noisy
    assert {each.sigma for each in result.sigmas if each.sigma} <= {0.4} or result.sigmas


def test_a_noisy_picture_never_looks_clean_with_confidence() -> None:
    for sigma in (2, 3, 5, 20, 50):
        assert "looks-clean" not in run(picture(sigma, soft=True), AUTO, white(sigma))[1].warnings
    faint = run(picture(1.1, soft=True), AUTO, white(1.1))[1]
    assert "looks-clean" in faint.warnings
    assert faint.estimate is not None
    assert faint.estimate.confidence < 0.6
    confidences = [run(picture(sigma), AUTO, white(sigma / 3))[1].estimate for sigma in (6, 30, 120)]
    values = [each.confidence for each in confidences if each]
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] < 1


@pytest.mark.parametrize(("sigma", "share"), [(1.3, 0.056), (2.1, 0.5), (2.9, 0.944), (3.1, 1.0)])
def test_of_weak_noise_only_a_share_is_removed(sigma: float, share: float) -> None:
    noisy = picture(sigma, soft=True)
    result = run(noisy, AUTO, white(sigma))[1]
    np.testing.assert_allclose(result.picture.planes, (1 - share) * noisy.planes, atol=1e-3)
    assert result.warnings == (("weak-noise",) if share < 1 else ())


@pytest.mark.parametrize(("sigma", "share"), [(2.4, 0.0), (3.75, 0.5), (5.1, 1.0)])
def test_more_of_the_grain_of_a_gray_picture_stays(sigma: float, share: float) -> None:
    noisy = picture(sigma, 1, soft=True)
    result = run(noisy, AUTO, level_map(sigma, 0))[1]
    np.testing.assert_allclose(result.picture.planes, (1 - share) * noisy.planes, atol=1e-3)


def test_noise_that_is_missing_from_many_cells_is_texture() -> None:
    levels = level_map(8, 12)
    levels[:, :2] = 0.3 / 255  # a sixth of the cells
    result = run(picture(8, soft=True), AUTO, levels)[1]
    assert result.warnings == ("looks-clean",)
    assert result.picture is result.noisy
    assert result.estimate is not None
    assert result.estimate.confidence == 0.5


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_a_frame_is_hidden_from_the_network(value: float) -> None:
    """A frame of one color, or of what is nearly black or white, has no noise. It gets the level of the cells beside it."""
    noisy = picture(8, soft=True)
    noisy.planes[:, :24] = noisy.planes[:, :, 88:] = value
    if value != 0.4:
        noisy.planes[:, :24] += np.random.default_rng(0).uniform(-0.01, 0.01, (24, SIDE)).astype(np.float32)
    levels = level_map(8, 12)[:, 5:, :-3]
    levels[0, 0] *= 2
    passes, result = run(noisy, AUTO, levels)
    np.testing.assert_array_equal(passes[0].plane, noisy.planes[:, 40:, :72])
    assert result.model == "photo"
    assert passes[1].plane.shape == (3, SIDE, SIDE)
    np.testing.assert_array_equal(np.asarray(passes[1].sigma), np.pad(levels, ((0, 0), (5, 0), (0, 3)), mode="edge"))


def test_a_frame_of_one_color_keeps_it() -> None:
    noisy = picture(8, soft=True)
    noisy.planes[:, :24] = 0.4
    _, result = run(noisy, AUTO, level_map(8, 12)[:, 5:])
    assert (result.picture.planes[:, :24] == np.float32(0.4)).all()
    assert not result.picture.planes[:, 24:].any()


def test_noise_that_the_channels_share_is_not_white() -> None:
    """A tinted scan has the same grain in all channels, which a network for white noise in color leaves in place."""
    grain = picture(15, 1).planes
    tinted = Picture(np.concatenate((grain, grain * np.float32(0.97), grain * np.float32(0.92))), rgb=True)
    assert run(tinted, AUTO, level_map(15, 0.4))[1].model == "photo"


def test_white_noise_has_a_map_too() -> None:
    result = run(picture(20), AUTO, white(21))[1]
    assert result.model is None
    assert result.cells is not None
    np.testing.assert_allclose(result.cells, 255 * white(21), rtol=1e-6)


def test_white_noise_around_what_alpha_hides_is_white() -> None:
    alpha, levels = np.ones((SIDE, SIDE), np.float32), white(21)
    alpha[24:72, 24:72] = 0
    levels[:, 3:9, 3:9] *= 5
    assert run(replace(picture(20), alpha=alpha), AUTO, levels)[1].model is None


def test_what_alpha_hides_has_no_effect_on_the_estimate() -> None:
    """The network sees the nearest visible color instead, and the level is that of the visible cells."""
    noisy, levels = picture(8, soft=True), level_map(8, 12)
    alpha = np.ones((SIDE, SIDE), np.float32)
    alpha[32:64, 32:64] = 0
    levels[:, 4:8, 4:8] = 100 / 255
    noisy.planes[:, alpha == 0] = np.random.default_rng(1).random((3, 32 * 32))
    passes, result = run(replace(noisy, alpha=alpha), AUTO, levels)
    np.testing.assert_array_equal(passes[0].plane[:, 34, 40:56], noisy.planes[:, 31, 40:56])
    assert result.sigma == pytest.approx(math.sqrt((3 * 8**2 + 2 * 12**2) / 3), rel=1e-3)
    assert [each.sigma for each in result.sigmas] == pytest.approx([8, 12, 12], rel=1e-3)


def test_a_picture_of_one_color_is_shown_whole() -> None:
    passes, _ = run(Picture(np.full((3, SIDE, SIDE), 0.4, np.float32), rgb=True), AUTO, level_map(0.3, 0.3))
    assert passes[0].plane.shape == (3, SIDE, SIDE)


def test_a_bar_within_the_picture_does_not_count() -> None:
    noisy, levels = picture(8, soft=True), level_map(8, 12)
    noisy.planes[:, 40:64] = 0.4
    levels[:, 5:8] = 0.3 / 255
    assert run(noisy, AUTO, levels)[1].model == "photo"


def test_a_gray_picture_has_no_noise_in_color_differences() -> None:
    passes, result = run(picture(8, 1, soft=True), AUTO, level_map(8, 3))
    assert passes[0].plane.shape == passes[1].plane.shape == (SIDE, SIDE)
    levels = np.asarray(passes[1].sigma)
    assert levels[0] == pytest.approx(np.full((CELLS, CELLS), 8 / 255), rel=1e-3)
    assert not levels[1].any()
    assert result.sigma == pytest.approx(8, rel=1e-3)
    assert [each.plane for each in result.sigmas] == ["gray"]


def test_an_ensemble_turns_the_map_with_the_picture() -> None:
    levels = level_map(8, 12)
    levels[0, 0] *= 2
    passes, _ = run(picture(8, soft=True), AUTO, levels, DenoisingOptions(None, "rgb", ensemble=True))
    assert len(passes) == 9
    rows = [np.asarray(each.sigma)[0].mean(1) for each in passes[1:]]
    assert any(np.argmax(row) == 0 for row in rows)
    assert any(np.argmax(row) == CELLS - 1 for row in rows)


def test_levels_beyond_the_range_of_the_model_are_cut() -> None:
    passes, result = run(picture(30, soft=True), AUTO, level_map(60, 90))
    assert np.asarray(passes[1].sigma).max() == pytest.approx(75 / 255)
    assert "out-of-range" in result.warnings


def test_float_pictures_on_another_scale_are_told_about_on_their_scale() -> None:
    noisy = picture(8, soft=True)
    large = Picture(noisy.planes * 100, rgb=True, depth="float")
    result = run(large, AUTO, level_map(8, 12))[1]
    span = float(large.planes.max())
    assert result.sigma == pytest.approx(span * math.sqrt((3 * 8**2 + 2 * 12**2) / 3), rel=1e-3)


@pytest.mark.parametrize(
    ("size", "channels", "sigma", "asks"),
    [
        ((96, 96), 3, None, True),
        ((96, 96), 1, None, True),
        ((96, 96), 3, 25.0, False),
        ((LEAST_SIDE - 1, 96), 3, None, False),
        ((96, 96), 4, None, False),
    ],
)
def test_which_pictures_the_network_estimates(size: tuple[int, int], channels: int, sigma: float | None, asks: bool) -> None:
    noisy = Picture(np.zeros((channels, *size), np.float32), channels == 3)
    for color in ("gray", "rgb"):
        assert AUTO.estimates(noisy, DenoisingOptions(sigma, color)) == asks


def test_the_level_of_a_channel() -> None:
    levels: NDArray[np.float32] = white(20)
    assert channel_levels(levels, rgb=True) * 255 == pytest.approx(np.full((CELLS, CELLS), 20), rel=1e-5)
    assert channel_levels(levels, rgb=False) * 255 == pytest.approx(np.full((CELLS, CELLS), 20 / math.sqrt(3)), rel=1e-5)
    found = find_noise(picture(20), AUTO)
    assert next(found).sigma is None
