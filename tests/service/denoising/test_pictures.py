"""Any picture, over a real socket: a table of files, and for each the pixels that have to come back.

What the network makes of a plane is asked of the denoiser itself; all before and after it is written out here again, from the
meaning of each format, with Pillow and tifffile as the only readers and writers.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from models.inference.denoiser import Denoiser
from tests.support.converted_table import converted_rows
from tests.support.live import Live, live, settings_for
from tests.support.picture_table import REFUSED, Array, Row, rows, tiff

SIGMA = 25


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


@pytest.fixture(scope="module")
def denoiser(service: Live) -> Denoiser:
    return Denoiser.load(service.server.settings.weights, "cpu", "float32")


def white(samples: Array) -> float:
    return 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max)


def expected(denoiser: Denoiser, samples: Array, rgb: bool, alpha: Array | None = None) -> Array:
    """(H, W, C) float of what has to come back, 1.0 = white, worked out from the definitions."""
    planes = samples.astype(np.float64).transpose(2, 0, 1) / white(samples)

    def denoised(plane: Array, noise: float) -> Array:
        result: Array = denoiser.denoise(torch.from_numpy(np.ascontiguousarray(plane, np.float32)), noise).numpy()
        return result.astype(np.float64)

    if rgb and (planes == planes[0]).all():  # a gray picture: its channels have the same noise
        result = np.stack([denoised(planes[0], SIGMA / 255)] * 3)
    elif rgb:
        red, green, blue = planes
        luma = denoised((red + green + blue) / 3, SIGMA / 255 / 3**0.5)
        first = denoised((red - blue) / 2**0.5 + 0.5, SIGMA / 255) - 0.5
        second = denoised((red - 2 * green + blue) / 6**0.5 + 0.5, SIGMA / 255) - 0.5
        red, green, blue = luma + first / 2**0.5 + second / 6**0.5, luma - second * (2 / 3) ** 0.5, 0
        blue = luma - first / 2**0.5 + second / 6**0.5
        result = np.stack([red, green, blue])
    else:
        result = np.stack([denoised(plane, SIGMA / 255) for plane in planes])
    if alpha is not None:
        result = np.where(alpha > 0, result, planes)
    return result.transpose(1, 2, 0)


def read(file: bytes) -> tuple[Array, Array | None]:
    """Color (H, W, C) and alpha of a returned file, in the samples of the file."""
    if file[:2] in (b"II", b"MM"):
        with tifffile.TiffFile(io.BytesIO(file)) as opened:
            page = opened.pages[0]
            samples = page.asarray()
            has_alpha = bool(page.extrasamples) and int(page.extrasamples[-1]) == 2
    elif file[:4] == b"\x89PNG" and file[24] == 16:
        samples = imagecodecs.png_decode(file)
        has_alpha = file[25] in (4, 6)
    else:
        image = Image.open(io.BytesIO(file))
        samples, has_alpha = np.asarray(image), image.mode in ("LA", "RGBA")
    samples = samples.reshape(*samples.shape[:2], -1)
    return (samples[..., :-1], samples[..., -1]) if has_alpha else (samples, None)


def lossy_again(samples: Array, kind: str) -> Array:
    """What is left of samples after JPEG or AVIF as the service writes it."""
    buffer = io.BytesIO()
    subsampling = {"JPEG": 0, "AVIF": "4:0:0" if samples.shape[2] == 1 else "4:4:4"}[kind]
    image = Image.fromarray(samples.astype(np.uint8).squeeze(2 if samples.shape[2] == 1 else ()))
    image.save(buffer, kind, quality=95, subsampling=subsampling)
    return np.asarray(Image.open(buffer)).astype(np.float64).reshape(samples.shape)


@pytest.mark.parametrize("row", [*rows(), *converted_rows()], ids=lambda row: row.name)
def test_the_pixels_that_come_back(service: Live, denoiser: Denoiser, row: Row) -> None:
    answer = service.client.post("/v1/denoise", content=row.file, params={"sigma": SIGMA, "color": "rgb"})
    assert answer.status_code == 200, answer.text
    color, alpha = read(answer.content)
    wanted = expected(denoiser, row.samples, row.rgb, row.alpha)
    assert color.dtype == row.samples.dtype, "the depth is kept"
    assert color.shape == wanted.shape
    top = white(color)
    exact = wanted if top == 1 else np.clip(np.rint(wanted * top), 0, top)
    # Two float32 ways to one number may round apart: by a level of 8 bits, by a hair of 16 bits or floats.
    tolerance = 1.0 if top == 255 else top * 2e-5
    kind = answer.headers["content-type"].removeprefix("image/").upper()
    if kind in ("JPEG", "AVIF"):
        exact, tolerance = lossy_again(exact, kind), {"JPEG": 6.0, "AVIF": 16.0}[kind]
    assert np.abs(color.astype(np.float64) - exact).max() <= tolerance
    if row.alpha is None:
        assert alpha is None
    else:
        assert alpha is not None
        assert np.array_equal(alpha, row.alpha)
        assert np.array_equal(color[row.alpha == 0], row.samples[row.alpha == 0])
    if top == 255:
        row.check(Image.open(io.BytesIO(answer.content)))
    assert not np.array_equal(color, row.samples) or color.size < 50, "the network has been at it"


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_not_read_is_refused_and_the_reason_said(service: Live, name: str) -> None:
    file, status, word = REFUSED[name]
    answer = service.client.post("/v1/denoise", content=file, params={"sigma": SIGMA})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert word.lower() in answer.json()["detail"].lower()


def test_a_hot_pixel_in_a_float_picture_is_told(service: Live) -> None:
    samples = np.full((32, 32), 0.5, np.float32)
    samples[3, 4] = 1e38
    for sigma in (str(SIGMA), "auto"):
        answer = service.client.post("/v1/denoise", content=tiff(samples), params={"sigma": sigma})
        assert answer.status_code == 200, answer.text
        assert "outliers" in answer.headers["x-warnings"].split(", ")
        answer = service.client.post(
            "/v1/denoise", content=tiff(samples), params={"sigma": sigma}, headers={"accept": "application/json"}
        )
        assert any(each["code"] == "outliers" and "hot pixels" in each["detail"] for each in answer.json()["warnings"])
