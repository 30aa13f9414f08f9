"""The formats of cameras, over a real socket: what comes back, and what is said about it."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

from service.imaging.cmyk import srgb_profile
from tests.support.cmyk_profile import cmyk_profile
from tests.support.heif_files import heic
from tests.support.live import Live, live, settings_for
from tests.support.picture_table import levels, pil, tiff

JSON = {"accept": "application/json"}


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


def photo(depth: type[np.uint8 | np.uint16] = np.uint8) -> bytes:
    exif = Image.Exif()
    exif[Base.Make] = "Camera"
    exif.get_ifd(IFD.GPSInfo).update({1: "N"})
    exif[IFD.GPSInfo] = exif.get_ifd(IFD.GPSInfo)
    return heic(levels(64, 72, 3, dtype=depth), exif=exif.tobytes())


def test_the_limits_list_what_is_read(service: Live) -> None:
    formats = service.client.get("/v1/info").json()["limits"]["formats"]
    assert formats == ["png", "jpeg", "webp", "avif", "tiff", "bmp", "heic"]


def test_heic_comes_back_as_jpeg_without_its_place(service: Live) -> None:
    answer = service.client.post("/v1/denoise", content=photo(), params={"sigma": 20, "color": "rgb"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, image.size, image.getexif()[Base.Make]) == ("JPEG", (72, 64), "Camera")
    assert not image.getexif().get_ifd(IFD.GPSInfo)
    kept = service.client.post("/v1/denoise", content=photo(), params={"sigma": 20, "metadata": "keep"})
    assert Image.open(io.BytesIO(kept.content)).getexif().get_ifd(IFD.GPSInfo) == {1: "N"}


@pytest.mark.parametrize(
    ("options", "accept", "media_type"),
    [
        ({"format": "png"}, "*/*", "image/png"),
        ({"format": "avif"}, "*/*", "image/avif"),
        ({}, "image/avif", "image/avif"),
        ({}, "image/heic, image/avif;q=0.5, */*;q=0.1", "image/avif"),
        ({}, "image/*", "image/jpeg"),
    ],
)
def test_another_format_can_be_asked_for(service: Live, options: dict[str, str], accept: str, media_type: str) -> None:
    answer = service.client.post(
        "/v1/denoise", content=photo(), params={"sigma": "20", "color": "rgb", **options}, headers={"accept": accept}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert Image.open(io.BytesIO(answer.content)).size == (72, 64)


def test_heic_is_not_written(service: Live) -> None:
    answer = service.client.post("/v1/denoise", content=photo(), params={"format": "heic"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:n3denoise:error:invalid-parameter")
    assert "avif" in answer.json()["detail"]
    refused = service.client.post("/v1/denoise", content=photo(), headers={"accept": "image/heic"})
    assert refused.status_code == 406


def test_ten_bits_of_heic_stay_if_the_format_can_hold_them(service: Live) -> None:
    sent = photo(np.uint16)
    for name, depth in (("png", 16), ("jpeg", 8)):
        answer = service.client.post("/v1/denoise", content=sent, params={"sigma": 20, "color": "rgb", "format": name})
        assert answer.status_code == 200
        assert (answer.content[24] if name == "png" else 8) == depth


def test_a_heic_file_may_be_the_reference(service: Live) -> None:
    files = {"image": pil(levels(64, 72, 3), "avif"), "reference": photo()}
    answer = service.client.post("/v1/denoise", files=files, params={"sigma": 20, "color": "rgb"}, headers=JSON)
    assert answer.status_code == 200, answer.text
    assert answer.json()["media_type"] == "image/avif"
    assert answer.json()["noisy"]["psnr"] > 30, "the same samples, compressed in two ways"


def premultiplied() -> bytes:
    stored = levels(16, 16, 4) // 2
    stored[..., 3] = 128
    return tiff(stored, photometric="rgb", extrasamples=[1])


@pytest.mark.parametrize(
    ("code", "word"),
    [("was-cmyk", "color profile"), ("guessed-cmyk", "formula"), ("was-premultiplied", "divided")],
)
@pytest.mark.parametrize("sigma", ["20", "auto"])
def test_a_conversion_is_said(service: Live, code: str, word: str, sigma: str) -> None:
    file = {
        "was-cmyk": pil(levels(64, 64, 3), "jpeg", "CMYK", icc_profile=cmyk_profile()),
        "guessed-cmyk": pil(levels(64, 64, 3), "jpeg", "CMYK"),
        "was-premultiplied": premultiplied(),
    }[code]
    options = {"sigma": sigma, "color": "rgb"}
    answer = service.client.post("/v1/denoise", content=file, params=options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-warnings"].split(", ")[0] == code
    if "cmyk" in code:
        image = Image.open(io.BytesIO(answer.content))
        assert (image.mode, image.info["icc_profile"]) == ("RGB", srgb_profile())
    said = service.client.post("/v1/denoise", content=file, params=options, headers=JSON).json()["warnings"]
    assert (said[0]["code"], word in said[0]["detail"]) == (code, True)
    noise = service.client.post("/v1/noise", content=file, params={"color": "rgb"}).json()
    assert noise["warnings"][0]["code"] == code
