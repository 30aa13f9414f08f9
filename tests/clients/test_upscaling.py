"""The client and the real server: pictures that are enlarged, at once and in the background."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from n3denoise_client.results import Job, UpscaledFigures

from tests.support.clients import Connect
from tests.support.live import Live, png
from tests.support.upscaling import random_upscaling_weights, upscaling_service


@pytest.fixture(scope="module")
def service(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with upscaling_service(weights, random_upscaling_weights(tmp_path_factory.mktemp("upscaling"))) as running:
        yield running


def test_a_picture_comes_with_the_figures_in_the_headers(service: Live, connect: Connect) -> None:
    small, clean = png(40, 48, 3), png(120, 144, 3, seed=1)
    raw = service.client.post("/v1/upscale", files={"image": small, "reference": clean}, params={"factor": "3", "sigma": "4.5"})
    upscaled = connect(service).upscale(small, reference=clean, factor=3, sigma=4.5)
    assert upscaled.image == raw.content
    assert (upscaled.factor, upscaled.sigma, upscaled.model, upscaled.media_type) == (3, 4.5, "upscale", "image/png")
    assert upscaled.psnr_gain == float(raw.headers["x-psnr-gain"])
    assert upscaled.ssim_bicubic == float(raw.headers["x-ssim-bicubic"])
    assert upscaled.figures is None


def test_all_figures_come_with_the_same_picture(service: Live, connect: Connect) -> None:
    raw = service.client.post("/v1/upscale?sigma=auto", content=png(), headers={"accept": "application/json"}).json()
    upscaled = connect(service).upscale(png(), figures=True, sigma="auto")
    assert upscaled.image == base64.b64decode(raw["image"])
    assert upscaled.figures is not None
    assert upscaled.figures.model_dump(mode="json") == {
        name: value for name, value in raw.items() if name not in ("image", "media_type")
    }


def test_a_job_enlarges_in_the_background(service: Live, connect: Connect) -> None:
    seen: list[Job] = []
    client = connect(service, sleep=lambda _: None)
    upscaled = client.upscale_in_background(png(), factor=4, progress=seen.append)
    assert upscaled.image == client.upscale(png(), factor=4).image
    assert isinstance(seen[-1].figures, UpscaledFigures)
    assert (seen[-1].status, seen[-1].figures.factor) == ("succeeded", 4)


def test_the_steps_of_a_job_one_by_one(service: Live, connect: Connect) -> None:
    client = connect(service, sleep=lambda _: None)
    job = client.create_job(png(), task="upscale", factor=2)
    assert client.wait(job.id).status == "succeeded"
    assert client.upscaled_result(job.id, format="tiff").media_type == "image/tiff"
    assert client.upscaled_result(job.id).factor == 2
    client.delete_job(job.id)


def test_models_say_what_they_do(service: Live, connect: Connect) -> None:
    tasks = {card.name: card.task for card in connect(service).models().models}
    assert (tasks["upscale"], tasks["n3net"]) == ("upscale", "denoise")
