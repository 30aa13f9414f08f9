"""Strengths for luma and color, detail, and the mask, over a real socket."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.images import color
from service.api.schemas import DenoiseOptions
from service.api.upload import FILES
from service.imaging import codec
from service.imaging.picture import DecodeLimits, Planes
from service.settings import Settings
from tests.support.live import Live, live, png, png_of, settings_for

RGB = png(channels=3)


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights, max_megapixels=0.1)) as running:
        yield running


@pytest.fixture(scope="module")
def default_service() -> Iterator[Live]:
    with live(settings_for("default")) as running:
        yield running


def decoded(data: bytes) -> Planes:
    return codec.decode(data, DecodeLimits()).planes


def denoised(service: Live, image: bytes, mask: bytes | None = None, **options: Any) -> Planes:
    """Return the planes of a result in floats, which are neither rounded nor clipped."""
    files = {"image": image, **({"mask": mask} if mask else {})}
    params = {"sigma": 25, "format": "tiff", "depth": "float", **options}
    answer = service.client.post("/v1/denoise", files=files, params=params)
    assert answer.status_code == 200, answer.text
    return decoded(answer.content)


@pytest.mark.parametrize(("luma", "chroma"), [(1, 0), (0, 1), (0.5, 1)])
def test_luma_and_color_have_strengths_of_their_own(service: Live, luma: float, chroma: float) -> None:
    noisy, whole = color.separate(decoded(RGB)), color.separate(denoised(service, RGB, color="rgb"))
    result = denoised(service, RGB, color="rgb", luma_strength=luma, chroma_strength=chroma)
    strengths = np.array([luma, chroma, chroma])[:, None, None]
    assert np.allclose(color.separate(result), noisy + strengths * (whole - noisy), atol=1e-5)
    assert abs(whole - noisy).max() > 0.05


def test_a_strength_that_is_not_given_is_the_common_one(service: Live) -> None:
    both = denoised(service, RGB, color="rgb", strength=0.5)
    assert np.array_equal(denoised(service, RGB, color="rgb", strength=0.5, luma_strength=0.5), both)
    assert np.array_equal(denoised(service, RGB, color="rgb", luma_strength=0.5, chroma_strength=0.5), both)
    assert not np.array_equal(denoised(service, RGB, color="rgb", luma_strength=0.5), both)


def test_a_gray_picture_has_luma_only(service: Live) -> None:
    half = denoised(service, png(), strength=0.5)
    assert np.array_equal(denoised(service, png(), luma_strength=0.5, chroma_strength=0.1), half)
    assert np.array_equal(denoised(service, RGB, luma_strength=0.5), denoised(service, RGB, strength=0.5)), "color=gray"
    before = service.metric("denoise_pixels_total", model="n3unet", device="cpu")
    assert np.array_equal(denoised(service, png(), luma_strength=0), decoded(png()))
    assert service.metric("denoise_pixels_total", model="n3unet", device="cpu") == before


def test_a_mask_says_where_to_denoise(service: Live) -> None:
    levels = np.zeros((48, 40), np.uint8)
    levels[:, 10:], levels[:, 30:] = 128, 255
    for image, mode in ((png(), "gray"), (RGB, "rgb")):
        noisy, whole = decoded(image), denoised(service, image, color=mode)
        result = denoised(service, image, png_of(levels), color=mode)
        assert np.array_equal(result[..., :10], noisy[..., :10])
        assert np.allclose(result[..., 10:30], (noisy + (whole - noisy) * 128 / 255)[..., 10:30], atol=1e-6)
        assert np.allclose(result[..., 30:], whole[..., 30:], atol=1e-6)


def test_a_mask_may_be_any_picture_and_its_alpha_is_ignored(service: Live) -> None:
    image = png()
    levels = np.random.default_rng(3).integers(0, 256, (48, 40), np.uint8)
    expected = denoised(service, image, png_of(levels))
    assert np.array_equal(denoised(service, image, png_of(levels[..., None].repeat(3, axis=2))), expected)
    assert np.array_equal(denoised(service, image, png_of(np.dstack([levels, np.zeros_like(levels)]))), expected)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "TIFF")
    assert np.array_equal(denoised(service, image, buffer.getvalue()), expected)


@pytest.mark.parametrize(
    ("mask", "status", "code"),
    [
        (png(40, 48), 422, "mask-mismatch"),
        (png()[:-30], 422, "undecodable-image"),
        (b"no image", 415, "unsupported-format"),
        (png(400, 300), 413, "too-many-pixels"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(service: Live, mask: bytes, status: int, code: str) -> None:
    answer = service.client.post("/v1/denoise?sigma=25", files={"image": png(), "mask": mask})
    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:n3denoise:error:{code}"
    if code == "mask-mismatch":
        assert "40 x 48" not in answer.json()["title"]
        assert "48 x 40 pixels, and the image 40 x 48" in answer.json()["detail"], "width x height"


def test_a_mask_is_given_once_and_in_a_form(service: Live) -> None:
    files = [("image", png()), ("mask", png()), ("mask", png())]
    answer = service.client.post("/v1/denoise?sigma=25", files=files)
    assert (answer.status_code, answer.json()["parameters"]) == (422, ["mask"])
    answer = service.client.post("/v1/denoise?sigma=25&mask=x", content=png())
    assert (answer.status_code, answer.json()["parameters"]) == (422, ["mask"])


def test_all_options_and_files_fit_into_a_form() -> None:
    assert len(DenoiseOptions.model_fields) + len(FILES) <= Settings().max_form_fields


@pytest.mark.parametrize("name", ["luma_strength", "chroma_strength", "detail"])
@pytest.mark.parametrize("value", [-0.1, 1.1, "nan", "much"])
def test_shares_are_from_zero_to_one(service: Live, name: str, value: float | str) -> None:
    answer = service.client.post("/v1/denoise", content=png(), params={name: value})
    assert answer.status_code == 422
    assert answer.json()["parameters"] == [name]


def test_a_mask_holds_for_photographs_too(default_service: Live) -> None:
    levels = np.zeros((48, 40), np.uint8)
    levels[:, 20:] = 255
    options: dict[str, Any] = {"model": "photo", "sigma": "auto", "color": "rgb"}
    result = denoised(default_service, RGB, png_of(levels), **options)
    assert np.array_equal(result[..., :20], decoded(RGB)[..., :20])
    assert np.allclose(result[..., 20:], denoised(default_service, RGB, **options)[..., 20:], atol=1e-6)
    assert abs(result - decoded(RGB))[..., 20:].max() > 0.1


def test_detail_brings_back_what_a_sigma_that_is_too_high_removed(default_service: Live) -> None:
    """The noise has a standard deviation of 25, and the network is told 37.5."""
    camera = np.asarray(Image.open("examples/camera.png"), np.float64)[100:260, 150:310]
    noise = np.random.default_rng(0).normal(0, 25, camera.shape)
    noisy = np.rint(camera + noise).clip(0, 255).astype(np.uint8)
    files = {"image": png_of(noisy), "reference": png_of(camera.astype(np.uint8))}
    answers = [
        default_service.client.post("/v1/denoise", files=files, params={"sigma": 37.5, "model": "n3unet", "detail": detail})
        for detail in (0, 0.5, 1)
    ]
    none, half, whole = (float(answer.headers["x-psnr-denoised"]) for answer in answers)
    assert none < half < whole
    assert whole > none + 0.05
