"""What is done with planes, seen with stand-ins for the network that show what they were given."""

from dataclasses import replace

import numpy as np
import pytest

from models.images.color import separate
from service.denoising.blending import Blend
from service.denoising.estimation import estimate_sigma
from service.denoising.pipeline import DenoisedPicture, DenoisingOptions, Pass, count_passes, denoise_picture
from service.errors import SigmaOutOfRange
from service.imaging.picture import Picture, Plane, Planes
from tests.support.passes import advance, denoise_with, sigma_of

RANGE = (0.0, 75.0)


def planes(*shape: int, seed: int = 0) -> Planes:
    return np.random.default_rng(seed).uniform(0.3, 0.7, shape).astype(np.float32)


def rgb(height: int = 12, width: int = 9) -> Picture:
    return Picture(planes(3, height, width), rgb=True, depth="float", format="tiff")


def same(each: Pass) -> Plane:
    return each.plane


class Seen(list[Pass]):
    """Keeps every run, and changes nothing."""

    def __call__(self, each: Pass) -> Plane:
        self.append(each)
        return each.plane


def darker_to_the_right(each: Pass) -> Plane:
    """Not the same under any flip or rotation."""
    height, width = each.plane.shape
    return np.asarray(
        each.plane * np.linspace(1, 0.5, width, dtype=np.float32) - np.linspace(0, 0.1, height)[:, None], np.float32
    )


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("picture", [Picture(planes(1, 7, 5)), rgb(), Picture(planes(5, 6, 4), format="tiff")])
def test_a_network_that_changes_nothing_changes_nothing(picture: Picture, ensemble: bool) -> None:
    options = DenoisingOptions(25, "rgb", ensemble=ensemble)
    seen = Seen()
    result = denoise_with(denoise_picture(picture, options, RANGE), seen)
    assert np.allclose(result.picture.planes, picture.planes, atol=1e-6)
    assert [each.index for each in seen] == list(range(count_passes(picture, options)))
    assert {each.count for each in seen} == {count_passes(picture, options)}
    assert all(each.plane.flags.c_contiguous and each.plane.dtype == np.float32 for each in seen)


def test_color_is_seen_as_luma_and_differences_each_with_its_noise() -> None:
    picture = rgb()
    seen = Seen()
    denoise_with(denoise_picture(picture, DenoisingOptions(30, "rgb"), RANGE), seen)
    assert np.allclose([each.plane for each in seen], separate(picture.planes), atol=1e-6)
    assert np.allclose([sigma_of(each) * 255 for each in seen], [30 / 3**0.5, 30, 30])


def test_gray_is_the_default_for_color() -> None:
    result = denoise_with(denoise_picture(rgb(), DenoisingOptions(25), RANGE), same)
    assert result.picture.channels == result.noisy.channels == 1
    assert not result.picture.rgb
    assert np.allclose(result.picture.planes, result.noisy.planes)


def test_three_channels_that_are_not_rgb_stay_three() -> None:
    result = denoise_with(denoise_picture(replace(rgb(), rgb=False), DenoisingOptions(25), RANGE), same)
    assert result.picture.channels == 3


def test_the_ensemble_is_the_mean_over_eight_views() -> None:
    plane = planes(1, 6, 11)
    expected = []
    for mirror in (False, True):
        for quarter in range(4):
            view = np.rot90(plane[0][:, ::-1] if mirror else plane[0], quarter)
            back = np.rot90(darker_to_the_right(Pass(view, 0, 0, 8)), 4 - quarter)
            expected.append(back[:, ::-1] if mirror else back)
    result = denoise_with(denoise_picture(Picture(plane), DenoisingOptions(25, ensemble=True), RANGE), darker_to_the_right)
    assert np.allclose(result.picture.planes[0], np.mean(expected, axis=0), atol=1e-6)
    assert not np.allclose(expected[0], expected[5])


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_strength_blends_input_and_result(strength: float) -> None:
    plane = planes(1, 6, 6)
    result = denoise_with(
        denoise_picture(Picture(plane), DenoisingOptions(25, blend=Blend(strength)), RANGE), lambda each: each.plane * 0
    )
    assert np.allclose(result.picture.planes, plane * (1 - strength), atol=1e-7)


def test_pixels_that_cannot_be_seen_keep_their_color_and_alpha_is_left_alone() -> None:
    alpha = (np.arange(36).reshape(6, 6) % 3 / 2).astype(np.float32)
    picture = Picture(planes(1, 6, 6), alpha=alpha)
    result = denoise_with(denoise_picture(picture, DenoisingOptions(25), RANGE), lambda each: each.plane * 0).picture
    assert np.array_equal(result.planes[0][alpha == 0], picture.planes[0][alpha == 0])
    assert not result.planes[0][alpha > 0].any()
    assert result.alpha is alpha


@pytest.mark.parametrize(("sigma", "bounds"), [(76, (0, 75)), (1e9, (0, 75)), (4, (5, 50)), (51, (5, 50))])
def test_a_sigma_out_of_range_is_refused_and_the_range_named(sigma: float, bounds: tuple[float, float]) -> None:
    with pytest.raises(SigmaOutOfRange) as error:
        denoise_with(denoise_picture(Picture(planes(1, 4, 4)), DenoisingOptions(sigma), bounds), same)
    assert f"{bounds[0]} to {bounds[1]}" in error.value.detail


def test_sigma_nought_is_a_noise_level_like_any_other() -> None:
    step = advance(denoise_picture(Picture(planes(1, 4, 4)), DenoisingOptions(0), RANGE), None)
    assert isinstance(step, Pass)
    assert step.sigma == 0


def test_a_picture_that_looks_clean_takes_no_run_when_sigma_is_to_be_found_out() -> None:
    picture = Picture(np.full((1, 64, 64), 0.5, np.float32))
    step = advance(denoise_picture(picture, DenoisingOptions(None), RANGE), None)
    assert isinstance(step, DenoisedPicture)
    assert step.picture is picture


def test_a_model_of_one_sigma_sees_planes_stretched_to_it() -> None:
    picture = rgb()
    seen = Seen()
    result = denoise_with(denoise_picture(picture, DenoisingOptions(25, "rgb"), (25, 25)), seen)
    assert np.allclose([sigma_of(each) * 255 for each in seen], 25)
    luma = separate(picture.planes)[0]
    assert np.allclose(seen[0].plane, 0.5 + (luma - 0.5) * 3**0.5, atol=1e-6), "its noise is 25 now"
    assert np.allclose(result.picture.planes, picture.planes, atol=1e-6)


def noisy(sigma: float, channels: int = 1, size: int = 80) -> Planes:
    noise = np.random.default_rng(5).standard_normal((channels, size, size))
    return (0.5 + noise * sigma / 255).astype(np.float32)


@pytest.mark.parametrize(("channels", "color"), [(1, "gray"), (3, "rgb")])
def test_sigma_is_found_out(channels: int, color: str) -> None:
    picture = Picture(noisy(20, channels), rgb=channels == 3, depth="float")
    result = denoise_with(denoise_picture(picture, DenoisingOptions(None, "rgb" if color == "rgb" else "gray"), RANGE), same)
    assert result.sigma == pytest.approx(20, abs=1)
    assert result.estimate is not None
    assert result.estimate.sigma == result.sigma
    estimate, sigmas = estimate_sigma(picture, "rgb" if color == "rgb" else "gray", RANGE)
    assert result.estimate == estimate
    assert [each.plane for each in result.sigmas] == [each.plane for each in sigmas]
    assert [each.sigma for each in result.sigmas] == pytest.approx([each.sigma for each in sigmas])
    assert result.estimate.warnings == ()


def used(result: DenoisedPicture) -> dict[str, float | None]:
    return {each.plane: each.sigma for each in result.sigmas}


def test_the_level_that_each_plane_is_denoised_with_is_told() -> None:
    seen = Seen()
    factors = np.array([1, 0.5, 1.5], np.float32)[:, None, None]  # unlike white noise, so each plane gets an estimate of its own
    picture = Picture(0.5 + (noisy(20, 3) - 0.5) * factors, rgb=True, depth="float")
    result = denoise_with(denoise_picture(picture, DenoisingOptions(None, "rgb"), RANGE), seen)
    luma, *differences = (sigma_of(each) * 255 for each in seen)
    assert used(result) == pytest.approx({"luma": luma, "red-blue": differences[0], "magenta-green": differences[1]})
    assert result.sigma == pytest.approx(np.sqrt((3 * luma**2 + differences[0] ** 2 + differences[1] ** 2) / 3))
    assert abs(differences[0] / result.sigma - 1) > 0.05, "giving X-Sigma by hand is something else"


def test_a_sigma_that_was_given_is_told_for_each_plane() -> None:
    given = denoise_with(denoise_picture(rgb(), DenoisingOptions(30, "rgb"), RANGE), same)
    assert used(given) == pytest.approx({"luma": 30 / 3**0.5, "red-blue": 30, "magenta-green": 30})
    stretched = denoise_with(denoise_picture(rgb(), DenoisingOptions(25, "rgb"), (25, 25)), same)
    assert used(stretched) == pytest.approx({"luma": 25 / 3**0.5, "red-blue": 25, "magenta-green": 25})
    assert used(denoise_with(denoise_picture(rgb(), DenoisingOptions(30), RANGE), same)) == pytest.approx({"gray": 30})
    channels = Picture(planes(2, 7, 5) * 4000, format="tiff", depth="float")
    scaled = denoise_with(denoise_picture(channels, DenoisingOptions(30_000), RANGE), same)
    assert used(scaled) == pytest.approx({"channel-1": 30_000, "channel-2": 30_000})


def test_a_plane_that_is_left_unchanged_has_no_level() -> None:
    picture = Picture(np.concatenate([noisy(20), np.full((1, 80, 80), 0.5, np.float32)]), format="tiff", depth="float")
    result = denoise_with(denoise_picture(picture, DenoisingOptions(None), RANGE), same)
    assert used(result) == {"channel-1": pytest.approx(20, abs=1), "channel-2": None}


def test_a_noise_out_of_range_is_told_and_the_nearest_sigma_taken() -> None:
    seen = Seen()
    result = denoise_with(denoise_picture(Picture(noisy(60)), DenoisingOptions(None), (5, 50)), seen)
    assert result.estimate is not None
    assert "out-of-range" in result.estimate.warnings
    assert result.sigma == pytest.approx(60, abs=2)
    assert sigma_of(seen[0]) * 255 == pytest.approx(50)


def test_a_clean_picture_is_left_as_it_is() -> None:
    picture = Picture(np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(1, 64, 64))
    step = advance(denoise_picture(picture, DenoisingOptions(None), RANGE), None)
    assert isinstance(step, DenoisedPicture)
    assert step.picture is picture
    assert step.estimate is not None
    assert step.estimate.warnings == ("looks-clean",)


def test_noise_about_black_and_white_changes_no_scale() -> None:
    plane = np.tile(np.array([0, 1], np.float32), (64, 32)) + noisy(25, size=64)[0] - np.float32(0.5)
    step = advance(denoise_picture(Picture(plane[None], depth="float"), DenoisingOptions(25), RANGE), None)
    assert isinstance(step, Pass)
    assert np.array_equal(step.plane, plane)


@pytest.mark.parametrize("channels", [1, 3])
def test_content_beyond_black_and_white_is_brought_between_them(channels: int) -> None:
    """Its noise, which reaches further, is not counted as content."""
    ramp = np.broadcast_to(np.linspace(-0.5, 1.5, 80, dtype=np.float32), (channels, 80, 80))
    picture = Picture(ramp + noisy(20, channels) - np.float32(0.5), rgb=channels == 3, depth="float", format="tiff")
    seen = Seen()
    result = denoise_with(denoise_picture(picture, DenoisingOptions(20, "rgb"), RANGE), seen)
    slope, offset = np.polyfit(ramp[0, 0], seen[0].plane.mean(0), 1)
    assert 0.45 < slope < 0.55
    assert -0.05 < offset - 0.5 * slope < 0.05, "black"
    assert 0.95 < offset + 1.5 * slope < 1.05, "white"
    assert sigma_of(seen[0]) * 255 == pytest.approx(20 * slope * channels**-0.5, rel=0.01)
    assert np.allclose(result.picture.planes, picture.planes, atol=1e-6)
    assert result.sigma == 20


@pytest.mark.parametrize(("offset", "factor"), [(0, 255.0), (-1000, 4000.0), (0, 1e30)])
def test_another_scale_is_mapped_to_the_networks_and_back(offset: float, factor: float) -> None:
    base = noisy(20)
    picture = Picture((offset + base * factor).astype(np.float32), depth="float", format="tiff")
    seen = Seen()
    result = denoise_with(denoise_picture(picture, DenoisingOptions(None), RANGE), lambda each: seen(each) - np.float32(0.01))
    assert seen[0].plane.min() >= 0
    assert seen[0].plane.max() <= 1
    assert result.sigma / 20 == pytest.approx(factor, rel=0.06)
    span = max(picture.planes.max(), 1) - min(float(picture.planes.min()), 0)
    assert np.allclose(result.picture.planes, picture.planes - 0.01 * span, atol=1e-5 * span)


@pytest.mark.parametrize("sigma", [20, None])
@pytest.mark.parametrize(("outlier", "warned"), [(1e38, True), (-20.0, True), (12.0, True), (8.0, False)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_few_samples_that_set_the_range_are_told(channels: int, outlier: float, warned: bool, sigma: float | None) -> None:
    planes = noisy(20, channels)
    planes[0, 3, 4] = outlier
    picture = Picture(planes, rgb=channels == 3, depth="float", format="tiff")
    result = denoise_with(denoise_picture(picture, DenoisingOptions(sigma, "rgb"), RANGE), same)
    assert ("outliers" in result.warnings) == warned
    assert ("outliers" in estimate_sigma(picture, "rgb", RANGE)[0].warnings) == warned


@pytest.mark.parametrize(("offset", "factor"), [(0, 4000.0), (-1000, 4000.0), (5000, 0.0), (0, 1e-3)])
def test_a_range_that_the_whole_picture_fills_is_no_reason_to_doubt(offset: float, factor: float) -> None:
    picture = Picture((offset + noisy(20) * factor).astype(np.float32), depth="float", format="tiff")
    assert "outliers" not in estimate_sigma(picture, "gray", RANGE)[0].warnings
