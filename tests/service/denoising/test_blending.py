"""Strengths, detail, the mask and transparent pixels, on planes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.images import color
from service.denoising import blending
from service.denoising.blending import Blend, blend, matching_mask
from service.denoising.pipeline import DenoisedPicture, DenoisingOptions, Pass, denoise_picture
from service.errors import MaskMismatch
from service.imaging.picture import Picture, Plane, Planes
from tests.support.passes import advance, denoise_with

SHARES = st.floats(0, 1, width=32)


def random(*shape: int, seed: int = 0) -> Planes:
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


def picture(channels: int = 3, height: int = 24, width: int = 31, seed: int = 0) -> Picture:
    return Picture(random(channels, height, width, seed=seed), rgb=channels == 3, depth="float", format="tiff")


def textured(sigma: float, factor: float = 0.7, size: int = 128) -> tuple[Picture, Planes]:
    """Return a noisy picture, textured on one side, and its denoised planes, with no noise, but less contrast in the texture."""
    y, x = np.mgrid[0:size, 0:size]
    texture = 0.2 * np.sin(x / 2) * np.sin(y / 3) * (x > size / 2)
    noise = np.random.default_rng(0).standard_normal(texture.shape) * sigma / 255
    noisy = (0.5 + texture + noise)[None].astype(np.float32)
    return Picture(noisy, depth="float", format="tiff"), (0.5 + factor * texture)[None].astype(np.float32)


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(luma=SHARES, chroma=SHARES)
def test_luma_and_color_have_strengths_of_their_own(luma: float, chroma: float) -> None:
    """The oracle blends each plane that `color.separate` makes."""
    noisy, denoised = picture(), random(3, 24, 31, seed=1)
    strengths = np.array([luma, chroma, chroma], np.float32)[:, None, None]
    before, after = color.separate(noisy.planes), color.separate(denoised)
    expected = color.merge(before + strengths * (after - before))
    assert np.allclose(blend(noisy, denoised, Blend(0.123, luma, chroma)), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_strength_for_luma_holds_for_all_channels_of_a_picture_that_is_not_rgb(channels: int) -> None:
    noisy, denoised = picture(channels), random(channels, 24, 31, seed=1)
    expected = noisy.planes + np.float32(0.25) * (denoised - noisy.planes)
    assert np.allclose(blend(noisy, denoised, Blend(1, luma=0.25, chroma=0.75)), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_both_strengths_are_by_default_the_common_one(channels: int) -> None:
    noisy, denoised = picture(channels), random(channels, 24, 31, seed=1)
    for how in (Blend(0.4), Blend(0.9, luma=0.4, chroma=0.4), Blend(0.4, chroma=0.4)):
        assert np.allclose(blend(noisy, denoised, how), noisy.planes + np.float32(0.4) * (denoised - noisy.planes), atol=1e-6)
    assert np.array_equal(blend(noisy, denoised, Blend()), denoised)
    assert np.array_equal(blend(noisy, denoised, Blend(0)), noisy.planes)


@pytest.mark.parametrize(
    ("channels", "how", "passes"),
    [
        (3, Blend(0), 0),
        (3, Blend(1, luma=0, chroma=0), 0),
        (3, Blend(0, luma=0.1), 3),
        (3, Blend(0, chroma=0.1), 3),
        (1, Blend(0, chroma=1), 0),
        (1, Blend(1, luma=0), 0),
        (1, Blend(0, luma=1), 1),
        (1, Blend(0, detail=1), 0),
    ],
)
def test_strengths_of_zero_take_no_pass(channels: int, how: Blend, passes: int) -> None:
    noisy = picture(channels)
    step = advance(denoise_picture(noisy, DenoisingOptions(25, "rgb", blend=how), (0, 75)), None)
    if isinstance(step, DenoisedPicture):
        assert passes == 0
        assert step.picture is noisy
    else:
        assert step.count == passes


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_mask_says_where_to_denoise(channels: int) -> None:
    noisy, denoised, mask = picture(channels), random(channels, 24, 31, seed=1), random(24, 31, seed=2)
    for how in (Blend(), Blend(0.5, chroma=1), Blend(detail=1)):
        whole = blend(noisy, denoised, how)
        for each in (np.zeros_like(mask), np.ones_like(mask), mask):
            result = blend(noisy, denoised, replace(how, mask=each))
            assert np.allclose(result, noisy.planes + each * (whole - noisy.planes), atol=1e-6)
            assert np.array_equal(result[:, each == 0], noisy.planes[:, each == 0])


def test_a_mask_is_converted_to_gray_and_its_alpha_is_ignored() -> None:
    image, gray = picture(3), Picture(random(1, 24, 31), alpha=np.zeros((24, 31), np.float32))
    assert np.array_equal(matching_mask(gray, image), gray.planes[0])
    red, green, blue = image.planes
    assert np.allclose(matching_mask(image, image), 0.2989 * red + 0.5870 * green + 0.1140 * blue, atol=1e-3)
    beyond = Picture(np.linspace(-3, 4, 24 * 31, dtype=np.float32).reshape(1, 24, 31), depth="float")
    assert np.array_equal(matching_mask(beyond, image), beyond.planes[0].clip(0, 1))


def test_a_mask_of_another_size_or_of_unrelated_channels_is_refused() -> None:
    with pytest.raises(MaskMismatch, match="24 x 31 pixels, and the image 31 x 24"):
        matching_mask(picture(1, 31, 24), picture())
    with pytest.raises(MaskMismatch, match="gray or RGB"):
        matching_mask(picture(2), picture())


@pytest.mark.parametrize(("sigma", "most"), [(5, 0.2), (15, 0.6), (25, 0.8)])
def test_detail_gives_back_structure_and_leaves_noise(sigma: float, most: float) -> None:
    noisy, denoised = textured(sigma)
    clean = (denoised - 0.5) / 0.7 + 0.5

    def error(planes: Planes) -> float:
        return float(np.square(planes - clean).mean())

    errors = [error(blend(noisy, denoised, Blend(detail=detail))) for detail in (0, 0.5, 1)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < most * errors[0]
    flat, noise = np.full_like(denoised, 0.5), np.random.default_rng(1).standard_normal(denoised.shape).astype(np.float32)
    kept = blend(Picture(flat + noise * np.float32(sigma / 255)), flat, Blend(detail=1)) - flat
    assert kept.std() < 0.1 * sigma / 255


@pytest.mark.parametrize("channels", [1, 3])
def test_detail_is_a_share(channels: int) -> None:
    noisy, denoised = picture(channels), random(channels, 24, 31, seed=1)
    none, half, whole = (blend(noisy, denoised, Blend(detail=detail)) for detail in (0, 0.5, 1))
    assert np.allclose(half, (none + whole) / 2, atol=1e-6)


def test_detail_is_given_back_to_luma_only() -> None:
    noisy, denoised = picture(3, 64, 64), random(3, 64, 64, seed=1)
    none, whole = (color.separate(blend(noisy, denoised, Blend(detail=detail))) for detail in (0, 1))
    assert np.allclose(none[1:], whole[1:], atol=1e-6)
    assert not np.allclose(none[0], whole[0], atol=1e-3)


@pytest.mark.parametrize(("offset", "factor"), [(-1000, 4000), (0, 1e-6), (0, 1e30)])
def test_detail_does_not_depend_on_the_unit_of_the_samples(offset: float, factor: float) -> None:
    noisy, denoised = textured(15)
    expected = blend(noisy, denoised, Blend(detail=1)).astype(np.float64)
    scaled = replace(noisy, planes=(noisy.planes * factor + offset).astype(np.float32))
    result = blend(scaled, (denoised * factor + offset).astype(np.float32), Blend(detail=1))
    assert np.allclose((result - offset) / factor, expected, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 2])
def test_tiles_leave_no_seams(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy, denoised, mask = picture(channels, 150, 131), random(channels, 150, 131, seed=1), random(150, 131, seed=2)
    how = Blend(0.9, chroma=0.5, detail=0.7, mask=mask)
    whole = blend(noisy, denoised, how)
    monkeypatch.setattr(blending, "_TILE", 4 * 11)  # so that the energies are measured at the same pixels
    assert np.allclose(blend(noisy, denoised, how), whole, atol=1e-6)


def test_pixels_that_cannot_be_seen_keep_their_color() -> None:
    alpha = np.tile(np.array([0, 0.5, 1], np.float32), (24, 11))[:, :31]
    noisy, denoised = replace(picture(), alpha=alpha), random(3, 24, 31, seed=1)
    for how in (Blend(), Blend(0.5, detail=1)):
        result = blend(noisy, denoised.copy(), how)
        assert np.array_equal(result[:, alpha == 0], noisy.planes[:, alpha == 0])
        assert (result[:, alpha > 0] != noisy.planes[:, alpha > 0]).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_options_reach_pictures_beyond_black_and_white(channels: int) -> None:
    """The scale is undone before the blend, so the strengths and the mask act on the samples of the file."""
    noisy = picture(channels, 40, 40)
    noisy = replace(noisy, planes=noisy.planes * 4000 - 1000)
    mask = random(40, 40, seed=2)

    def darker(each: Pass) -> Plane:
        return each.plane - np.float32(0.1)

    def result(how: Blend) -> Planes:
        passes = denoise_picture(noisy, DenoisingOptions(2000, "rgb", blend=how), (0, 75))
        return denoise_with(passes, darker).picture.planes

    whole = result(Blend())
    assert abs(whole - noisy.planes).max() > 100
    expected = noisy.planes + mask * (whole - noisy.planes) / 2
    assert np.allclose(result(Blend(0.5, mask=mask)), expected, atol=0.01)
