"""A network that denoises the three channels of an RGB picture together: what it sees, and what is reported."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.inference.denoiser import Denoiser
from models.inference.gray_and_color import GrayAndColor
from models.methods import load_method
from models.model_info import ModelInfo
from models.neighbors.neighborhood import NeighborQuery
from models.steps import run_through
from models.weights import files as weights
from models.weights.files import load_weights, save_weights
from service.denoising.denoising_job import DenoisingJob
from service.denoising.estimation import PlaneSigma
from service.denoising.evaluation_job import EvaluationJob
from service.denoising.job import OutputOptions, run
from service.denoising.pipeline import DenoisingOptions, Pass, count_passes, denoise_picture
from service.imaging.picture import DecodeLimits, Picture, Plane
from tests.support.live import live, settings_for
from tests.support.networks import random_unet
from tests.support.passes import denoise_with, sigma_of

RANGE = (0.0, 75.0)
LIMITS = DecodeLimits(pixels=1 << 20)
JSON = {"Accept": "application/json"}


def rgb(height: int = 12, width: int = 9, noise: float = 0.0) -> Picture:
    rng = np.random.default_rng(0)
    planes = np.full((3, height, width), 0.5) + noise * rng.standard_normal((3, height, width))
    return Picture(planes.astype(np.float32), rgb=True, depth="float", format="tiff")


def png(picture: Picture) -> bytes:
    file = io.BytesIO()
    Image.fromarray((picture.planes.transpose(1, 2, 0) * 255).clip(0, 255).astype(np.uint8)).save(file, "png")
    return file.getvalue()


class Seen(list[Pass]):
    """Keeps every pass, and changes nothing."""

    def __call__(self, each: Pass) -> Plane:
        self.append(each)
        return each.plane


@pytest.fixture
def color_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the folder of shipped weights by one with a small N3UNet for gray pictures and one for RGB pictures."""
    for name, channels in (("n3net", 1), ("n3unet", 1), ("n3unet-color", 3)):
        small = random_unet(channels, channels=channels)
        save_weights(tmp_path / f"{name}.safetensors", small.config, small.state, small.sigma_range, {})
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    return tmp_path


def test_the_network_sees_all_channels_at_once_with_the_sigma_of_a_channel() -> None:
    picture, seen = rgb(noise=0.1), Seen()
    result = denoise_with(denoise_picture(picture, DenoisingOptions(30, "rgb"), RANGE, joint=True), seen)
    assert [(each.plane.shape, sigma_of(each) * 255) for each in seen] == [((3, 12, 9), 30)]
    assert np.array_equal(seen[0].plane, picture.planes)
    assert np.array_equal(result.picture.planes, picture.planes)
    assert result.sigmas == (PlaneSigma("rgb", 30),)


def test_the_ensemble_takes_eight_passes() -> None:
    picture, options, seen = rgb(noise=0.1), DenoisingOptions(30, "rgb", ensemble=True), Seen()
    result = denoise_with(denoise_picture(picture, options, RANGE, joint=True), seen)
    assert len(seen) == count_passes(picture, options, joint=True) == 8
    assert np.allclose(result.picture.planes, picture.planes, atol=1e-6)


def test_an_estimated_sigma_is_the_one_that_is_used_and_reported() -> None:
    picture, seen = rgb(128, 128, noise=20 / 255), Seen()
    result = denoise_with(denoise_picture(picture, DenoisingOptions(None, "rgb"), RANGE, joint=True), seen)
    assert result.sigma == pytest.approx(20, rel=0.1)
    assert [sigma_of(each) * 255 for each in seen] == [pytest.approx(result.sigma)]
    (used,) = result.sigmas
    assert used.plane == "rgb"
    assert used.sigma == pytest.approx(result.sigma)


def test_a_clean_picture_is_left_as_it_is() -> None:
    picture = replace(rgb(128, 128), planes=np.broadcast_to(np.linspace(0, 1, 128, dtype=np.float32), (3, 128, 128)).copy())
    passes = denoise_picture(picture, DenoisingOptions(None, "rgb"), RANGE, joint=True)
    with pytest.raises(StopIteration) as end:
        next(passes)
    assert end.value.value.picture is picture


def test_gray_and_unrelated_channels_go_one_by_one() -> None:
    for picture in (Picture(rgb().planes[:1]), replace(rgb(), rgb=False)):
        seen = Seen()
        denoise_with(denoise_picture(picture, DenoisingOptions(30, "rgb"), RANGE, joint=True), seen)
        assert {each.plane.ndim for each in seen} == {2}


@pytest.mark.usefixtures("color_weights")
def test_a_job_uses_the_color_network_for_rgb_and_the_gray_one_otherwise() -> None:
    method = load_method("n3unet", device="cpu", dtype="float32")
    assert isinstance(method, GrayAndColor)
    assert method.info.color is not None
    seen: list[Pass] = []

    def denoise(each: Pass) -> Plane:
        seen.append(each)
        denoised: Plane = method.denoise(torch.from_numpy(each.plane), sigma_of(each)).numpy()
        return denoised

    data = png(rgb(40, 44, noise=0.1))
    for color, shape in (("rgb", (3, 40, 44)), ("gray", (40, 44))):
        job = DenoisingJob(data, None, method.info, DenoisingOptions(25, color), OutputOptions(), LIMITS)  # type: ignore[arg-type]
        expected: ModelInfo = method.info.color if color == "rgb" else method.info
        assert job.model.weights_sha256 == expected.weights_sha256
        assert job.passes == 1
        run(job, denoise)
        assert seen.pop().plane.shape == shape
    result = run(EvaluationJob(data, method.info, DenoisingOptions(25, "rgb"), 0, LIMITS), denoise)
    direct = method.color.denoise(torch.from_numpy(result.noisy.planes), 25 / 255).numpy()
    assert np.allclose(result.denoised.planes, direct, atol=1e-5)


@pytest.mark.usefixtures("color_weights")
def test_the_service_answers_in_color_with_the_color_weights() -> None:
    data = png(rgb(40, 44, noise=0.1))
    with live(settings_for("default")) as service:
        answers = [
            service.client.post("/v1/denoise", content=data, params={"model": "n3unet", "color": color, "sigma": 25})
            for color in ("gray", "rgb")
        ]
        cards = {card["name"]: card for card in service.client.get("/v1/models").json()["models"]}
    assert [answer.status_code for answer in answers] == [200, 200]
    hashes = [answer.headers["x-weights-sha256"] for answer in answers]
    assert hashes == [cards["n3unet"]["weights_sha256"], cards["n3unet"]["color_weights_sha256"]]
    assert cards["n3net"]["color_weights_sha256"] is None
    assert [answer.headers["x-model"] for answer in answers] == ["n3unet", "n3unet"]


@pytest.mark.usefixtures("color_weights")
def test_the_weights_that_are_named_are_those_of_the_network_that_denoised() -> None:
    """A gray picture in RGB is denoised by the network for gray pictures."""
    colored = rgb(40, 44, noise=0.1)
    gray = replace(colored, planes=np.repeat(colored.planes[:1], 3, axis=0))
    with live(settings_for("default")) as service:
        answers = [
            service.client.post("/v1/denoise", content=png(picture), params={"model": "n3unet", "color": "rgb", "sigma": 25})
            for picture in (colored, gray)
        ]
        cards = {card["name"]: card for card in service.client.get("/v1/models").json()["models"]}
    expected = [cards["n3unet"][name] for name in ("color_weights_sha256", "weights_sha256")]
    assert [answer.headers["x-weights-sha256"] for answer in answers] == expected
    for answer, sha256 in zip(answers, expected, strict=True):
        assert sha256 in Image.open(io.BytesIO(answer.content)).info["Software"]


@pytest.mark.usefixtures("color_weights")
def test_the_default_model_is_the_one_with_color_weights() -> None:
    data = png(rgb(40, 44, noise=0.1))
    with live(settings_for("default")) as service:
        answers = [
            service.client.post("/v1/denoise", content=data, params={"color": "rgb", "sigma": 25, **model}, headers=JSON).json()
            for model in ({}, {"model": "n3unet"})
        ]
    assert answers[0] == answers[1]
    assert [each["plane"] for each in answers[0]["sigmas"]] == ["rgb"]


def test_other_weights_denoise_color_as_luma_and_differences(color_weights: Path, tmp_path: Path) -> None:
    other, mine = random_unet(7), tmp_path / "mine" / "n3unet.safetensors"
    mine.parent.mkdir()
    save_weights(mine, other.config, other.state, other.sigma_range, {})
    data = png(rgb(40, 44, noise=0.1))
    with live(settings_for(mine)) as service:
        answer = service.client.post("/v1/denoise", content=data, params={"color": "rgb", "sigma": 25}, headers=JSON).json()
        cards = {card["name"]: card for card in service.client.get("/v1/models").json()["models"]}
    assert (color_weights / "n3unet-color.safetensors").is_file()
    assert cards["n3unet"]["color_weights_sha256"] is None
    assert answer["weights_sha256"] == cards["n3unet"]["weights_sha256"] == load_weights(mine).sha256
    assert [each["plane"] for each in answer["sigmas"]] == ["luma", "red-blue", "magenta-green"]
    denoiser = Denoiser.load(mine, device="cpu", dtype="float32")

    def denoise(each: Pass) -> Plane:
        denoised: Plane = denoiser.denoise(torch.from_numpy(each.plane), sigma_of(each)).numpy()
        return denoised

    options = DenoisingOptions(25, "rgb")
    expected = run(DenoisingJob(data, None, denoiser.info, options, OutputOptions("png"), LIMITS), denoise)
    assert base64.b64decode(answer["image"]) == expected.file


@pytest.mark.usefixtures("color_weights")
def test_two_networks_shrink_only_if_both_can() -> None:
    gray, color = (Denoiser.load(name, device="cpu") for name in ("n3unet", "n3unet-color"))
    joined = GrayAndColor(gray, color)
    for budgets, can in (((1, 1), True), ((1, 0), False), ((0, 1), False)):
        for network, enough in zip((gray, color), budgets, strict=True):
            network.memory_budget = (1 + enough) * network.least_budget
        assert joined.can_shrink is can


def test_only_a_gray_and_a_color_network_can_be_joined(color_weights: Path) -> None:
    gray = Denoiser.load(color_weights / "n3unet.safetensors", device="cpu")
    with pytest.raises(AssertionError):
        GrayAndColor(gray, gray)


@pytest.mark.parametrize("joint", [True, False])
def test_a_gray_picture_in_rgb_is_denoised_as_a_gray_one(color_weights: Path, joint: bool) -> None:
    """Its channels have the same noise, which a network for RGB images underestimates, as would independent planes."""
    gray = Denoiser.load(color_weights / "n3unet.safetensors", device="cpu", dtype="float32")
    color = Denoiser.load(color_weights / "n3unet-color.safetensors", device="cpu", dtype="float32")
    noisy = 0.5 + 0.1 * torch.randn(40, 33, generator=torch.Generator().manual_seed(0))
    expected = gray.denoise(noisy, 0.1)
    method = GrayAndColor(gray, color) if joint else gray
    picture = Picture(noisy.expand(3, -1, -1).numpy(), rgb=True, depth="float", format="tiff")
    passes = denoise_picture(picture, DenoisingOptions(25.5, "rgb"), RANGE, joint=joint)
    done = denoise_with(passes, lambda each: method.denoise(torch.from_numpy(each.plane), sigma_of(each)).numpy())
    for channel in done.picture.planes:
        np.testing.assert_allclose(channel, expected, atol=1e-5)


@pytest.mark.usefixtures("color_weights")
def test_the_neighbors_of_a_gray_picture_are_those_of_the_gray_network() -> None:
    gray, color = (Denoiser.load(name, device="cpu", dtype="float32") for name in ("n3unet", "n3unet-color"))
    noisy, query = torch.rand(64, 64, generator=torch.Generator().manual_seed(0)), NeighborQuery(30, 31, 1)
    expected = run_through(gray.neighbor_steps(noisy, 0.1, query))
    tables = run_through(GrayAndColor(gray, color).neighbor_steps(noisy.expand(3, -1, -1), 0.1, query))
    assert torch.equal(tables, expected)
