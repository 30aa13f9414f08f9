"""POST /v1/upscale over a real socket: what it returns, and what it refuses."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from PIL import Image

from models.images.metrics import psnr
from models.images.resize import enlarge_planes
from models.methods import load_upscaler
from tests.support.live import Live, live, png, png_of, settings_for
from tests.support.upscaling import random_upscaling_weights, upscaling_service

JSON = {"accept": "application/json"}


@pytest.fixture(scope="module")
def upscaling_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_upscaling_weights(tmp_path_factory.mktemp("upscaling"))


@pytest.fixture(scope="module")
def service(weights: Path, upscaling_weights: Path) -> Iterator[Live]:
    with upscaling_service(weights, upscaling_weights, max_megapixels=1) as running:
        yield running


def upscaled(service: Live, data: bytes, headers: Any = None, **options: Any) -> httpx2.Response:
    return service.client.post("/v1/upscale", content=data, params=options, headers=headers)


def samples(file: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(file)))


@pytest.mark.parametrize(("factor", "sigma"), [(2, 0), (3, 12.5), (4, 25)])
def test_the_result_is_that_of_the_network(service: Live, upscaling_weights: Path, factor: int, sigma: float) -> None:
    levels = np.random.default_rng(0).integers(40, 200, (37, 52), dtype=np.uint8)
    answer = upscaled(service, png_of(levels), factor=factor, sigma=sigma)
    assert answer.status_code == 200, answer.text
    network = load_upscaler(weights=upscaling_weights, device="cpu", dtype="float32")
    expected = network.upscale(torch.from_numpy(levels.astype(np.float32) / 255), sigma / 255, factor).numpy()
    assert np.abs(samples(answer.content) - 255 * expected.clip(0, 1)).max() <= 0.51
    assert answer.headers["content-type"] == "image/png"
    assert (answer.headers["x-model"], answer.headers["x-factor"]) == ("upscale", str(factor))
    assert float(answer.headers["x-sigma"]) == sigma
    assert answer.headers["x-weights-sha256"] == network.info.weights_sha256


def test_an_ensemble_is_the_mean_over_eight_views(service: Live, upscaling_weights: Path) -> None:
    levels = np.random.default_rng(0).integers(40, 200, (37, 52), dtype=np.uint8)
    answer = upscaled(service, png_of(levels), factor=3, sigma=10, ensemble="true")
    network = load_upscaler(weights=upscaling_weights, device="cpu", dtype="float32")
    views = []
    for turns in range(4):
        for step in (1, -1):  # -1 flips
            view = np.ascontiguousarray(np.rot90(levels, turns)[:, ::step], np.float32) / 255
            views.append(np.rot90(network.upscale(torch.from_numpy(view), 10 / 255, 3).numpy()[:, ::step], -turns))
    expected = 255 * np.mean(views, axis=0)
    assert np.abs(samples(answer.content) - expected.clip(0, 255)).max() <= 0.51
    assert answer.content != upscaled(service, png_of(levels), factor=3, sigma=10).content


def test_the_factor_is_2_and_no_noise_is_removed_by_default(service: Live) -> None:
    answer = upscaled(service, png())
    assert Image.open(io.BytesIO(answer.content)).size == (80, 96)
    assert answer.content == upscaled(service, png(), factor=2, sigma=0).content


def test_a_form_with_a_reference_is_measured_on_luma(service: Live) -> None:
    small, clean = png(40, 48, 3), png(80, 96, 3, seed=1)
    form = {"image": small, "reference": clean}
    answer = service.client.post("/v1/upscale", files=form, params={"sigma": 5})
    figures = service.client.post("/v1/upscale", files=form, params={"sigma": 5}, headers=JSON).json()
    gray = [samples(file) @ np.array([0.2989, 0.5870, 0.1140]) / 255 for file in (answer.content, clean)]
    expected = psnr(*(torch.from_numpy(plane[2:-2, 2:-2]) for plane in gray))
    assert float(answer.headers["x-psnr-upscaled"]) == pytest.approx(expected, abs=0.01)
    assert figures["upscaled"]["psnr"] == pytest.approx(expected, abs=0.01)
    assert figures["gain"]["psnr"] == pytest.approx(figures["upscaled"]["psnr"] - figures["bicubic"]["psnr"])
    assert float(answer.headers["x-ssim-bicubic"]) == pytest.approx(figures["bicubic"]["ssim"], abs=1e-4)
    assert base64.b64decode(figures["image"]) == answer.content
    assert (figures["width"], figures["height"], figures["factor"], figures["noise"]) == (96, 80, 2, None)
    assert [each["plane"] for each in figures["sigmas"]] == ["luma", "red-blue", "magenta-green"]


def test_sigma_auto_says_how_sure_the_estimate_is(service: Live) -> None:
    noise = np.random.default_rng(0).normal(0, 15, (128, 128))
    answer = upscaled(service, png_of((120 + noise).round().astype(np.uint8)), sigma="auto", factor=2)
    assert float(answer.headers["x-sigma"]) == pytest.approx(15, rel=0.1)
    assert 0 < float(answer.headers["x-sigma-confidence"]) <= 1
    figures = upscaled(service, png_of(np.full((64, 64), 120, np.uint8)), JSON, sigma="auto").json()
    assert "looks-clean" in [each["code"] for each in figures["warnings"]]
    assert figures["sigmas"] == [{"plane": "gray", "sigma": 0}]


@pytest.mark.parametrize(
    ("options", "code", "detail"),
    [
        ({"factor": 5}, "invalid-parameter", "factor must be 2, 3 or 4."),
        ({"factor": "2.0"}, "invalid-parameter", "factor must be 2, 3 or 4."),
        ({"sigma": 26}, "sigma-out-of-range", "Sigma must be from 0 to 25."),
        ({"sigma": "much"}, "invalid-parameter", "sigma must be"),
        ({"strength": 1}, "invalid-parameter", "Unknown option: strength."),
        ({"format": "jpeg", "depth": 16}, "invalid-parameter", "jpeg supports only depth 8."),
    ],
)
def test_wrong_options_are_refused(service: Live, options: dict[str, Any], code: str, detail: str) -> None:
    answer = upscaled(service, png(), **options)
    assert answer.status_code == 422
    assert answer.json()["type"].endswith(code)
    assert detail in answer.json()["detail"]


def test_a_mask_is_refused(service: Live) -> None:
    answer = service.client.post("/v1/upscale", files={"image": png(), "mask": png()})
    assert (answer.status_code, answer.json()["parameters"]) == (422, ["mask"])


def test_a_reference_of_another_size_is_refused(service: Live) -> None:
    answer = service.client.post("/v1/upscale", files={"image": png(), "reference": png()})
    assert answer.json()["type"].endswith("reference-mismatch")
    assert "the enlarged image will have 80 x 96" in answer.json()["detail"]


def test_the_limit_on_pixels_applies_to_the_enlarged_image(service: Live) -> None:
    data = png(400, 500)
    assert upscaled(service, data, factor=2).status_code == 200
    answer = upscaled(service, data, factor=3)
    assert (answer.status_code, answer.json()["limit_pixels"]) == (413, 1_000_000)
    assert "1500 x 1200 pixels" in answer.json()["detail"]
    assert "1000000" in answer.json()["detail"]


def test_work_is_counted_by_the_pixels_of_the_input_and_memory_by_all(service: Live) -> None:
    computed, held = (
        service.metric("denoise_pixels_total", model="upscale", device="cpu"),
        service.metric("denoise_input_pixels_sum"),
    )
    assert upscaled(service, png(40, 50), factor=3).status_code == 200
    assert service.metric("denoise_pixels_total", model="upscale", device="cpu") - computed == pytest.approx(2000)
    assert service.metric("denoise_input_pixels_sum") - held == 10 * 2000


def test_requests_are_counted_under_the_name_of_the_model(service: Live) -> None:
    outcomes = {
        outcome: service.metric("denoise_jobs_total", model="upscale", outcome=outcome) for outcome in ("ok", "client_error")
    }
    upscaled(service, png())
    upscaled(service, b"nothing")
    for outcome, before in outcomes.items():
        assert service.metric("denoise_jobs_total", model="upscale", outcome=outcome) == before + 1


def test_models_say_what_they_do(service: Live) -> None:
    cards = {card["name"]: card for card in service.client.get("/v1/models").json()["models"]}
    assert {card["task"] for name, card in cards.items() if name != "upscale"} == {"denoise"}
    assert (cards["upscale"]["task"], cards["upscale"]["sigma_max"]) == ("upscale", 25)
    answer = service.denoise(model="upscale")
    assert (answer.status_code, answer.json()["parameters"]) == (422, ["model"])


def test_formats_with_alpha_and_16_bits(service: Live) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (40, 36, 4), dtype=np.uint8)
    result = samples(upscaled(service, png_of(rgba), factor=2, format="webp").content)
    assert result.shape == (80, 72, 4)
    alpha = enlarge_planes(rgba[None, ..., 3].astype(np.float32), 2)[0].clip(0, 255)
    assert np.abs(result[..., 3] - alpha).max() <= 0.51
    assert samples(upscaled(service, png(), depth=16).content).dtype == np.uint16


def test_without_its_weights_the_model_is_missing(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.backend.has_upscaler", lambda: False)
    with live(settings_for(weights)) as service:
        answer = upscaled(service, png())
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("The model upscale is not available here.")
        assert service.client.post("/v1/jobs", content=png(), params={"task": "upscale"}).status_code == 422
        assert service.denoise().status_code == 200
