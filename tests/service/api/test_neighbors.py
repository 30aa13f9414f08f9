"""POST /v1/neighbors over a real socket: the patches that the network averages for one pixel."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models.inference.denoiser import Denoiser
from models.methods import load_method
from models.neighbors.neighborhood import Neighborhood, NeighborQuery
from models.steps import run_through
from models.weights.files import load_weights, save_weights
from service.api.rendering import MODEL_HEADERS
from tests.support.live import Live, live, png, png_of, settings_for
from tests.support.networks import random_weights

PNG = {"accept": "image/png"}


@dataclass
class Service:
    """A server whose default model is a small random network with two N3 blocks."""

    live: Live
    weights: Path

    def ask(self, data: bytes, headers: Any = None, **options: Any) -> Any:
        return self.live.client.post("/v1/neighbors", content=data, params=options, headers=headers)

    def found(self, data: bytes, **options: Any) -> dict[str, Any]:
        answer = self.ask(data, **options)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def denoiser(self) -> Denoiser:
        return Denoiser.load(self.weights, "cpu", "float32")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    random = random_weights(1)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path, random.config, random.state, (0, 75), {})
    with live(settings_for(path)) as running:
        yield Service(running, path)


def levels(height: int = 90, width: int = 120, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(40, 200, (height, width), dtype=np.uint8)


def assert_same(body: dict[str, Any], expected: Neighborhood) -> None:
    assert (body["query"]["x"], body["query"]["y"]) == expected.query
    assert body["temperature"] == pytest.approx(expected.temperature, rel=1e-5)
    assert [each["index"] for each in body["neighbors"]] == [*range(1, len(expected.weights) + 1)]
    for neighbor, weights in zip(body["neighbors"], expected.weights, strict=True):
        given = {(each["x"], each["y"]): each["weight"] for each in neighbor["candidates"]}
        wanted = {(x, y): weight for (x, y), weight in zip(expected.candidates.tolist(), weights.tolist(), strict=True)}
        assert given == pytest.approx(wanted, abs=1e-6)
        assert sum(given.values()) == pytest.approx(1, abs=1e-5)
        sorted_weights = [each["weight"] for each in neighbor["candidates"]]
        assert sorted_weights == sorted(sorted_weights, reverse=True)


@pytest.mark.parametrize("block", [1, 2])
def test_the_numbers_are_those_of_the_network(service: Service, block: int) -> None:
    picture = levels()
    body = service.found(png_of(picture), x=100, y=31, block=block, sigma=25)
    noisy = torch.from_numpy(picture.astype(np.float32) / 255)
    denoiser = service.denoiser()
    table = run_through(denoiser.neighbor_steps(noisy, 25 / 255, NeighborQuery(100, 31, block)))
    assert_same(body, Neighborhood.parse(table.numpy()))
    expected = {
        "width": 120,
        "height": 90,
        "model": "n3unet",
        "weights_sha256": load_weights(service.weights).sha256,
        "device": "cpu",
        "sigma": pytest.approx(25),
        "block": block,
        "blocks": 2,
        "x": 100,
        "y": 31,
        "patch_size": 10,
    }
    assert {name: body[name] for name in expected} == expected


@pytest.mark.parametrize("model", ["n3net", "photo"])
def test_other_models_are_loaded_too(service: Service, model: str) -> None:
    picture = levels()
    body = service.found(png_of(picture), x=50, y=60, sigma=30, model=model)
    noisy = torch.from_numpy(picture.astype(np.float32) / 255)
    method = load_method(model, device="cpu", dtype="float32")
    table = run_through(method.neighbor_steps(noisy, 30 / 255, NeighborQuery(50, 60, 1)))  # type: ignore[attr-defined]
    assert_same(body, Neighborhood.parse(table.numpy()))
    assert (body["model"], body["block"]) == (model, 1)
    assert (body["blocks"], body["patch_size"]) == ((2, 10) if model == "n3net" else (1, 12))


def test_color_is_converted_to_gray(service: Service) -> None:
    gray = levels()
    color = np.repeat(gray[..., None], 3, axis=2)
    assert service.found(png_of(color), x=5, y=6, sigma=25) == service.found(png_of(gray), x=5, y=6, sigma=25)


@pytest.mark.parametrize("model", ["n3unet", "photo"])
def test_the_noise_is_estimated_on_the_whole_picture_as_for_denoising(service: Service, model: str) -> None:
    noise = np.random.default_rng(1).normal(0, 20, (128, 128))
    file = png_of((np.linspace(60, 190, 128) + noise).clip(0, 255).astype(np.uint8))
    denoised = service.live.client.post(
        "/v1/denoise", content=file, params={"model": model}, headers={"accept": "application/json"}
    ).json()
    found = service.found(file, x=64, y=64, model=model)
    assert found["sigma"] == pytest.approx(denoised["sigma"], rel=1e-4)
    assert found == service.found(file, x=64, y=64, model=model, sigma="auto")


@pytest.mark.parametrize("size", [(10, 12), (64, 64)])
def test_a_clean_picture_has_neighbors_at_the_lowest_sigma(service: Service, size: tuple[int, int]) -> None:
    file = png_of(np.full(size, 128, np.uint8))
    found = service.found(file, x=3, y=4)
    assert found["sigma"] == 0
    assert found["neighbors"] == service.found(file, x=3, y=4, sigma=0)["neighbors"]


def test_json_is_the_default_and_png_is_for_those_who_ask(service: Service) -> None:
    for accept, media_type in {
        "*/*": "application/json",
        "application/json": "application/json",
        "image/*": "image/png",
        "image/png": "image/png",
        "image/png, */*;q=0.5": "image/png",
    }.items():
        answer = service.ask(png(), {"accept": accept}, x=1, y=1, sigma=25)
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    for accept in ("image/jpeg", "text/html"):
        assert service.ask(png(), {"accept": accept}, x=1, y=1, sigma=25).status_code == 406


def test_the_heat_map_has_the_size_of_the_picture_and_shows_the_heaviest_patch(service: Service) -> None:
    picture = levels()
    body = service.found(png_of(picture), x=100, y=31, sigma=25)
    answer = service.ask(png_of(picture), PNG, x=100, y=31, sigma=25)
    assert float(answer.headers["x-temperature"]) == pytest.approx(body["temperature"], rel=1e-3)
    assert answer.headers["x-sigma"] == "25"
    assert {name.lower() for name in MODEL_HEADERS} - {"x-device-fallback"} <= set(answer.headers)
    drawn = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    assert drawn.shape == (*picture.shape, 3)
    gray = (drawn == picture[..., None]).all(2)
    edge = body["query"]["x"] - 1, body["query"]["y"] - 1
    assert drawn[edge[1], edge[0]].tolist() == [0, 191, 255]  # the frame
    covered = np.zeros(picture.shape, bool)
    for each in body["neighbors"][0]["candidates"]:
        covered[max(each["y"], 0) : each["y"] + 10, max(each["x"], 0) : each["x"] + 10] = True
    x, y = body["query"]["x"], body["query"]["y"]
    covered[max(y - 2, 0) : y + 12, max(x - 2, 0) : x + 12] = True
    assert gray[~covered].all()
    assert not gray[covered].all()


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"y": 1}, ["x"]),
        ({}, ["x", "y"]),
        ({"x": 40, "y": 1}, ["x"]),
        ({"x": 40, "y": 48}, ["x", "y"]),
        ({"x": -1, "y": 1}, ["x"]),
        ({"x": "1.5", "y": 1}, ["x"]),
        ({"x": "1.0", "y": 1}, ["x"]),
        ({"x": "", "y": 1}, ["x"]),
        ({"x": "1", "y": "nan"}, ["y"]),
        ({"x": "9" * 30, "y": 1}, ["x"]),
        ({"x": 1, "y": 1, "block": 0}, ["block"]),
        ({"x": 1, "y": 1, "block": 3}, ["block"]),
        ({"x": 1, "y": 1, "block": 2, "model": "photo"}, ["block"]),
        ({"x": 1, "y": 1, "model": "dncnn"}, ["model"]),
        ({"x": 1, "y": 1, "model": "nlm"}, ["model"]),
        ({"x": 1, "y": 1, "sigma": "loud"}, ["sigma"]),
        ({"x": 1, "y": 1, "color": "rgb"}, ["color"]),
    ],
)
def test_bad_options_are_refused_in_words(service: Service, options: dict[str, object], names: list[str]) -> None:
    answer = service.ask(png(48, 40), **options)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, "urn:n3denoise:error:invalid-parameter")
    assert problem["parameters"] == names
    if names == ["x"] and options.get("x") == 40:
        assert problem["detail"] == "The pixel must lie inside the picture: x from 0 to 39."
    if options.get("block") == 3:
        assert problem["detail"] == "block must be from 1 to 2 for the model n3unet."


def test_a_network_without_blocks_is_refused_in_words(tmp_path: Path) -> None:
    random = random_weights(1, blocks=0)
    path = tmp_path / "plain.safetensors"
    save_weights(path, random.config, random.state, (0, 75), {})
    with live(settings_for(path)) as running:
        answer = Service(running, path).ask(png(), x=1, y=1, sigma=25)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "The model n3unet has no N3 block here, so it averages no patches."


def test_sigma_must_suit_the_model(service: Service) -> None:
    answer = service.ask(png(), x=1, y=1, sigma=80)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:n3denoise:error:sigma-out-of-range")


def test_positions_follow_the_orientation_of_the_picture(service: Service) -> None:
    buffer = io.BytesIO()
    image = Image.fromarray(levels(40, 90))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(buffer, "PNG", exif=exif)
    body = service.found(buffer.getvalue(), x=30, y=80, sigma=25)
    assert (body["width"], body["height"]) == (40, 90)
    assert service.ask(buffer.getvalue(), x=80, y=30, sigma=25).status_code == 422


def test_a_large_picture_costs_no_more_than_a_crop(service: Service) -> None:
    before = service.live.metric("denoise_pixels_total", model="n3unet", device="cpu")
    service.found(png_of(levels(1500, 1600)), x=800, y=700, sigma=25)
    crop = service.denoiser().info.blocks[0].side ** 2
    assert 0 < service.live.metric("denoise_pixels_total", model="n3unet", device="cpu") - before <= crop
