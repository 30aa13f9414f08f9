"""POST /v1/evaluate and /v1/noise over a real socket."""

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models.images import color
from models.images.metrics import psnr, ssim
from models.images.noise import add_noise, noisy_planes
from models.images.noise_level import estimate_noise
from models.inference.denoiser import Denoiser
from models.methods import load_method
from tests.support.live import Live, live, png, png_of, settings_for

JSON = {"accept": "application/json"}


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


def clean_levels(height: int = 40, width: int = 48) -> NDArray[np.uint8]:
    return np.add.outer(np.arange(height) * 2, np.arange(width) + 50).astype(np.uint8)


def test_it_is_a_row_of_the_table(service: Live) -> None:
    """The figures are those of the noise protocol, the denoiser and the metrics by themselves."""
    answer: dict[str, Any] = service.client.post(
        "/v1/evaluate", content=png_of(clean_levels()), params={"sigma": 30, "seed": 5}, headers=JSON
    ).json()
    clean = torch.from_numpy(clean_levels().astype(np.float32) / 255)
    noisy = add_noise(clean, 30 / 255, 5)
    denoised = Denoiser.load(service.server.settings.weights, "cpu", "float32").denoise(noisy, 30 / 255)
    assert answer["noisy"]["psnr"] == pytest.approx(psnr(noisy, clean), abs=1e-3)
    assert answer["denoised"]["psnr"] == pytest.approx(psnr(denoised, clean), abs=1e-3)
    assert answer["denoised"]["ssim"] == pytest.approx(ssim(denoised, clean), abs=1e-4)
    assert answer["gain"]["psnr"] == pytest.approx(psnr(denoised, clean) - psnr(noisy, clean), abs=1e-3)
    for name, image in (("noisy_image", noisy), ("denoised_image", denoised)):
        levels = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer[name]))))
        assert np.abs(levels - np.rint(np.clip(image.numpy(), 0, 1) * 255)).max() <= 1


@pytest.mark.parametrize("model", ["n3net", "dncnn", "nlm"])
def test_another_method_can_be_evaluated(service: Live, model: str) -> None:
    parameters: dict[str, str | int] = {"sigma": 30, "seed": 5, "model": model}
    answer = service.client.post("/v1/evaluate", content=png_of(clean_levels()), params=parameters, headers=JSON).json()
    noisy = add_noise(torch.from_numpy(clean_levels().astype(np.float32) / 255), 30 / 255, 5)
    denoised = load_method(model, device="cpu", dtype="float32").denoise(noisy, 30 / 255)
    levels = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["denoised_image"]))))
    assert np.abs(levels - np.rint(np.clip(denoised.numpy(), 0, 1) * 255)).max() <= 1


def test_the_picture_shows_clean_noisy_and_denoised(service: Live) -> None:
    answer = service.client.post("/v1/evaluate", content=png_of(clean_levels()), params={"sigma": 30, "seed": 5})
    panels = np.split(np.asarray(Image.open(io.BytesIO(answer.content))), 3, axis=1)
    assert np.array_equal(panels[0], clean_levels())
    assert 25 < np.std(panels[1] - panels[0].astype(float)) < 32
    assert not np.array_equal(panels[1], panels[2])
    assert float(answer.headers["x-psnr-noisy"]) == pytest.approx(20 * np.log10(255 / 30), abs=0.3)
    assert answer.headers["x-seed"] == "5"


@pytest.mark.parametrize("path", ["/v1/evaluate", "/v1/denoise"])
def test_the_fallback_to_the_cpu_is_told(service: Live, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "x-device-fallback" not in service.client.post(path, content=png(), params={"sigma": 25}).headers
    models = service.engine.models
    monkeypatch.setitem(models, "n3unet", replace(models["n3unet"], fallback_reason="no CUDA"))
    for headers in ({}, JSON):
        answer = service.client.post(path, content=png(), params={"sigma": 25}, headers=headers)
        assert answer.headers["x-device-fallback"] == "no CUDA"


def test_the_same_seed_gives_the_same_noise_and_color_has_its_own(service: Live) -> None:
    def row(**options: Any) -> str:
        return service.client.post("/v1/evaluate", content=png(channels=3), params=options, headers=JSON).text

    assert row(seed=1) == row(seed=1) != row(seed=2)
    assert row(seed=1, color="rgb") != row(seed=1)


def test_one_plane_gets_the_noise_of_the_evaluation() -> None:
    clean = torch.rand(1, 9, 7)
    assert np.array_equal(noisy_planes(clean.numpy(), 0.1, 3)[0], add_noise(clean[0], 0.1, 3).numpy())


def test_the_noise_of_a_picture_is_told(service: Live) -> None:
    noise = np.random.default_rng(0).standard_normal((96, 96)) * 20
    data = png_of(np.rint(np.clip(120 + noise, 0, 255)).astype(np.uint8))
    answer = service.client.post("/v1/noise", content=data).json()
    levels = np.asarray(Image.open(io.BytesIO(data))).astype(np.float32) / np.float32(255)
    assert answer["sigma"] == pytest.approx(estimate_noise(levels).sigma * 255)
    assert answer["sigma"] == pytest.approx(20, abs=1)
    assert answer["confidence"] > 0.8
    assert answer["warnings"] == []
    assert answer["sigmas"] == [{"plane": "gray", "sigma": answer["sigma"]}]


def test_the_noise_of_each_plane_is_told(service: Live) -> None:
    strengths = np.array([10, 20, 5])  # unlike in white noise, the planes differ
    noise = np.random.default_rng(0).standard_normal((3, 31, 300))  # too low for a noise level map, so patches are measured
    planes = color.merge(np.float32(0.5) + noise * strengths[:, None, None] / 255)
    data = png_of(np.rint(planes.transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8))
    sigmas = service.client.post("/v1/noise?color=rgb", content=data).json()["sigmas"]
    assert [each["plane"] for each in sigmas] == ["luma", "red-blue", "magenta-green"]
    assert [each["sigma"] for each in sigmas] == pytest.approx(strengths, rel=0.1)


def test_warnings_come_in_words(service: Live) -> None:
    (warning,) = service.client.post("/v1/noise", content=png_of(np.full((64, 64), 9, np.uint8))).json()["warnings"]
    assert warning["code"] == "looks-clean"
    assert "clean" in warning["detail"]


@pytest.mark.parametrize(
    ("path", "data", "options", "status", "code"),
    [
        ("/v1/noise", b"nothing", {}, 415, "unsupported-format"),
        ("/v1/noise", png()[:-30], {}, 422, "undecodable-image"),
        ("/v1/noise", png(), {"color": "mauve"}, 422, "invalid-parameter"),
        ("/v1/evaluate", png()[:-30], {}, 422, "undecodable-image"),
        ("/v1/evaluate", png(), {"sigma": 0}, 422, "invalid-parameter"),
        ("/v1/evaluate", png(), {"sigma": 75.0000001}, 422, "sigma-out-of-range"),
        ("/v1/evaluate", png(), {"seed": -1}, 422, "invalid-parameter"),
        ("/v1/denoise", png(), {"format": "jpeg", "depth": "16"}, 422, "invalid-parameter"),
        ("/v1/denoise", png(), {"strength": 1.5}, 422, "invalid-parameter"),
    ],
)
def test_bad_requests_are_problems(
    service: Live, path: str, data: bytes, options: dict[str, Any], status: int, code: str
) -> None:
    answer = service.client.post(path, content=data, params=options)
    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:n3denoise:error:{code}"


def test_gains_stand_beside_the_figures(service: Live) -> None:
    files = {"image": png(), "reference": png_of(np.full((48, 40), 120, np.uint8))}
    answer = service.client.post("/v1/denoise?sigma=25", files=files, headers=JSON)
    body = answer.json()
    assert body["gain"]["psnr"] == pytest.approx(body["denoised"]["psnr"] - body["noisy"]["psnr"])
    assert float(answer.headers["x-psnr-gain"]) == pytest.approx(body["gain"]["psnr"], abs=1e-3)


def test_an_infinite_psnr_is_null_and_is_not_counted(service: Live) -> None:
    before = service.metric("denoise_psnr_decibels_count", kind="noisy")
    answer = service.client.post("/v1/denoise?sigma=25&strength=0", files={"image": png(), "reference": png()}, headers=JSON)
    assert answer.json()["denoised"]["psnr"] is None
    assert answer.headers["x-psnr-denoised"] == "inf"
    assert service.metric("denoise_psnr_decibels_count", kind="noisy") == before
