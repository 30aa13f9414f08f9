"""Photographs over a real socket: the model that suits their noise, the estimate, and the noise level map."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage import data

from tests.support.live import Live, live, png_of, settings_for, wait_for

SIDE = 160


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


@pytest.fixture(scope="module")
def clean() -> NDArray[np.float64]:
    picture: NDArray[np.float64] = data.astronaut()[20 : 20 + SIDE, 140 : 140 + SIDE].astype(np.float64)
    return picture


def stored(picture: NDArray[np.float64]) -> bytes:
    return png_of(np.rint(picture.clip(0, 255)).astype(np.uint8))


@pytest.fixture(scope="module")
def soft(clean: NDArray[np.float64]) -> bytes:
    """A picture whose noise was smoothed, as cameras do it."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 30, clean.shape), (0.8, 0.8, 0))
    return stored(clean + noise)


@pytest.fixture(scope="module")
def white(clean: NDArray[np.float64]) -> bytes:
    return stored(clean + np.random.default_rng(0).normal(0, 20, clean.shape))


def pixels(file: bytes) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(file))).astype(np.float64)


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_noise_that_is_not_white_gets_the_model_for_photographs(
    service: Live, soft: bytes, clean: NDArray[np.float64], color: str
) -> None:
    answer = service.denoise(soft, sigma="auto", color=color)
    assert answer.headers["x-model"] == "photo"
    assert float(answer.headers["x-sigma"]) == pytest.approx(30 * 0.35, rel=0.5)
    assert "x-warnings" not in answer.headers
    truth = clean if color == "rgb" else np.rint(clean @ [0.2989, 0.5870, 0.1140])
    noisy = pixels(soft) if color == "rgb" else np.rint(pixels(soft) @ [0.2989, 0.5870, 0.1140])
    assert np.square(pixels(answer.content) - truth).mean() < 0.85 * np.square(noisy - truth).mean()


def test_white_noise_gets_the_model_for_white_noise(service: Live, white: bytes) -> None:
    answer = service.denoise(white, sigma="auto", color="rgb")
    assert answer.headers["x-model"] == "n3unet"
    assert float(answer.headers["x-sigma"]) == pytest.approx(20, rel=0.1)


def test_a_sigma_that_is_given_gets_the_default_model(service: Live, soft: bytes) -> None:
    assert service.denoise(soft, sigma=10, color="rgb").headers["x-model"] == "n3unet"
    assert service.denoise(soft, sigma=10, color="rgb", model="photo").headers["x-model"] == "photo"


def test_a_model_that_was_asked_for_is_used(service: Live, soft: bytes) -> None:
    answer = service.denoise(soft, sigma="auto", color="rgb", model="n3unet")
    assert answer.headers["x-model"] == "n3unet"
    assert answer.headers["x-warnings"] == "not-white"


def test_a_clean_picture_is_returned_unchanged(service: Live, clean: NDArray[np.float64]) -> None:
    flat = ndimage.gaussian_filter(clean, (1.5, 1.5, 0))
    answer = service.denoise(stored(flat), sigma="auto", color="rgb")
    assert "looks-clean" in answer.headers["x-warnings"]
    assert np.array_equal(pixels(answer.content), pixels(stored(flat)))


def test_the_noise_level_map_comes_on_request(service: Live, soft: bytes) -> None:
    accept = {"accept": "application/json"}
    for path in ("/v1/denoise", "/v1/noise"):
        plain = service.client.post(path, content=soft, params={"color": "rgb"}, headers=accept).json()
        assert plain["noise_map"] is None
        body = service.client.post(path, content=soft, params={"color": "rgb", "noise_map": "true"}, headers=accept).json()
        levels = pixels(base64.b64decode(body["noise_map"])) / 256
        assert levels.shape == (SIDE // 8, SIDE // 8)
        assert np.sqrt(np.square(levels).mean()) == pytest.approx(body["sigma"], rel=1e-2)
        assert [each["plane"] for each in body["sigmas"]] == ["luma", "red-blue", "magenta-green"]
    assert body["confidence"] > 0.5


def test_the_log_names_the_model_that_was_used(service: Live, soft: bytes) -> None:
    with structlog.testing.capture_logs() as events:
        service.denoise(soft, sigma="auto", color="rgb")
        wait_for(lambda: any(event["event"] == "request" for event in events))  # it is logged after the response
    assert [event["model"] for event in events if event["event"] == "request"] == ["photo"]
