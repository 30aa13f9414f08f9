"""`noise=poisson` over a real socket: gray pictures that count photons."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from service.imaging import codec
from service.imaging.picture import DecodeLimits, Planes
from tests.support.live import Live, live, png, settings_for

GAIN, READ_NOISE, OFFSET = 2.2, 3.5, 100.0  # of a camera, in counts of 16 bits
SCALE = 65535 / 255


@pytest.fixture(scope="module")
def service() -> Iterator[Live]:
    with live(settings_for("default")) as running:
        yield running


def light() -> NDArray[np.float64]:
    """Return the signal of a camera, in counts above its offset."""
    return np.asarray(data.camera()[40:200, 160:320] / 255.0) ** 2.2 * 300 * GAIN


def counts(offset: float = 0.0) -> NDArray[np.float64]:
    generator = np.random.default_rng(0)
    read = READ_NOISE * generator.standard_normal(light().shape)
    return np.asarray(offset + GAIN * generator.poisson(light() / GAIN) + read)


def png16(samples: NDArray[np.float64]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(samples.clip(0, 65535)).astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def float_tiff(samples: NDArray[np.float64]) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples.astype(np.float32), photometric="minisblack")
    return buffer.getvalue()


def denoise(service: Live, image: bytes, **options: Any) -> httpx2.Response:
    return service.client.post("/v1/denoise", content=image, params={"noise": "poisson", "model": "n3unet", **options})


def planes(answer: httpx2.Response) -> Planes:
    assert answer.status_code == 200, answer.text
    return codec.decode(answer.content, DecodeLimits()).planes


def error(samples: NDArray[np.floating], offset: float = 0.0) -> float:
    return float(np.sqrt(np.mean(np.square(samples - light() - offset))))


def test_a_dim_16_bit_picture_of_a_camera_is_denoised_without_any_number(service: Live) -> None:
    """It uses a hundredth of the range, so noise=gaussian takes it for clean."""
    answer = denoise(service, png16(counts(OFFSET)))
    result = planes(answer)[0] * 65535
    assert error(result, OFFSET) < 0.4 * error(counts())
    assert float(answer.headers["x-gain"]) * SCALE == pytest.approx(GAIN, rel=0.1)
    shift = READ_NOISE**2 / GAIN  # a lower offset stands for the read noise
    assert float(answer.headers["x-offset"]) * SCALE == pytest.approx(OFFSET - shift, rel=0.05)
    assert float(answer.headers["x-sigma"]) * SCALE == pytest.approx(np.sqrt(GAIN * light().mean() + READ_NOISE**2), rel=0.05)
    assert float(answer.headers["x-sigma-confidence"]) > 0.9
    assert answer.headers["x-model"] == "n3unet"
    gaussian = denoise(service, png16(counts(OFFSET)), noise="gaussian")
    assert error(planes(gaussian)[0] * 65535, OFFSET) > 2 * error(result, OFFSET)


def test_the_same_numbers_hold_at_every_depth(service: Live) -> None:
    options = {"gain": GAIN / SCALE, "read_noise": READ_NOISE / SCALE}
    from_integers = denoise(service, png16(counts()), **options)
    from_floats = denoise(service, float_tiff(counts() / 65535), **options)
    assert error(planes(from_floats)[0] * 65535) < 0.4 * error(counts())
    assert np.abs(planes(from_integers) - planes(from_floats)).mean() * 65535 < 1
    for answer in (from_integers, from_floats):
        assert float(answer.headers["x-gain"]) == pytest.approx(GAIN / SCALE, rel=1e-3)
        assert float(answer.headers["x-read-noise"]) == pytest.approx(READ_NOISE / SCALE, rel=1e-3)
        assert float(answer.headers["x-offset"]) == 0
        assert "x-sigma-confidence" not in answer.headers


def test_json_has_the_noise_and_the_quality(service: Live) -> None:
    files = {"image": float_tiff(counts()), "reference": float_tiff(light())}
    params: dict[str, Any] = {"noise": "poisson", "model": "n3unet", "read_noise": READ_NOISE * 255}
    answer = service.client.post("/v1/denoise", files=files, params=params, headers={"Accept": "application/json"})
    body = answer.json()
    assert body["photon_noise"]["gain"] == pytest.approx(GAIN * 255, rel=0.1)
    assert body["photon_noise"]["read_noise"] == pytest.approx(READ_NOISE * 255)
    assert body["photon_noise"]["offset"] == 0
    assert body["noise"]["sigma"] == body["sigma"] == body["sigmas"][0]["sigma"]
    assert body["noise"]["confidence"] > 0.9
    assert body["warnings"] == []
    assert body["gain"]["psnr"] > 8
    assert error(codec.decode(base64.b64decode(body["image"]), DecodeLimits()).planes[0]) < 0.4 * error(counts())


def test_other_requests_have_no_photon_noise(service: Live) -> None:
    params: dict[str, Any] = {"sigma": 20, "model": "nlm"}
    answer = service.client.post("/v1/denoise", content=png(), params=params, headers={"Accept": "application/json"})
    assert answer.json()["photon_noise"] is None
    assert "x-gain" not in answer.headers


@pytest.mark.parametrize("model", ["auto", "n3net", "photo", "dncnn", "nlm"])
def test_every_model_denoises_it(service: Live, model: str) -> None:
    answer = denoise(service, png16(counts()), model=model)
    assert answer.headers["x-model"] == ("n3unet" if model == "auto" else model)
    assert error(planes(answer)[0] * 65535) < 0.5 * error(counts())


@pytest.mark.parametrize(
    ("options", "words", "parameters"),
    [
        ({"sigma": 25}, "give gain and read_noise instead of sigma", ["sigma", "noise"]),
        ({"noise": "gaussian", "gain": 1}, "gain and read_noise require noise=poisson", ["gain", "read_noise", "noise"]),
        ({"noise": "gaussian", "read_noise": 0}, "gain and read_noise require noise=poisson", ["gain", "read_noise", "noise"]),
        ({"gain": 0}, "gain must be a number above 0 or auto.", ["gain"]),
        ({"gain": "1e99"}, "gain must be from 1e-30 to 1e+30", ["gain", "read_noise"]),
        ({"read_noise": "1e99"}, "read_noise at most 1e+30", ["gain", "read_noise"]),
        ({"read_noise": -1}, "read_noise must be a number of at least 0 or auto.", ["read_noise"]),
        ({"noise": "salt"}, "noise must be gaussian or poisson.", ["noise"]),
        ({"gain": "1e-12", "read_noise": 25}, "use noise=gaussian", ["read_noise", "gain"]),
    ],
)
def test_options_that_make_no_sense_are_refused(
    service: Live, options: dict[str, Any], words: str, parameters: list[str]
) -> None:
    answer = denoise(service, png(), **options)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:n3denoise:error:invalid-parameter"
    assert words in answer.json()["detail"]
    assert answer.json()["parameters"] == parameters


def test_color_is_converted_by_default_and_refused_otherwise(service: Live) -> None:
    color = png(64, 64, channels=3)
    assert planes(denoise(service, color, gain=1, read_noise=2)).shape == (1, 64, 64)
    answer = denoise(service, color, gain=1, read_noise=2, color="rgb")
    assert answer.status_code == 422
    assert "requires a gray picture" in answer.json()["detail"]


def test_a_picture_without_visible_noise_is_returned_unchanged(service: Live) -> None:
    answer = denoise(service, png(20, 20))
    assert answer.headers["x-warnings"] == "too-small"
    assert "x-gain" not in answer.headers
    assert np.array_equal(planes(answer), codec.decode(png(20, 20), DecodeLimits()).planes)
