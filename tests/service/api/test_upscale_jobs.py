"""Background jobs that enlarge pictures, over real HTTP."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from models.images.resize import enlarge_planes
from tests.support.jobs import ended, read_events, samples
from tests.support.live import Live, png, wait_for
from tests.support.upscaling import random_upscaling_weights, upscaling_service

ID = "client-chosen-id-1"


@pytest.fixture(scope="module")
def service(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("upscaling")
    with upscaling_service(weights, random_upscaling_weights(folder)) as running:
        yield running


def created(service: Live, data: bytes, **options: Any) -> httpx2.Response:
    return service.client.post("/v1/jobs", content=data, params={"task": "upscale", **options})


def test_a_job_gives_what_a_plain_request_gives(service: Live) -> None:
    form = {"image": png(40, 48, 3), "reference": png(120, 144, 3, seed=1)}
    options = {"factor": "3", "sigma": "5", "format": "jpeg"}
    plain = service.client.post("/v1/upscale", files=form, params=options)
    figures = service.client.post("/v1/upscale", files=form, params=options, headers={"accept": "application/json"}).json()
    answer = service.client.post("/v1/jobs", files=form, params={"task": "upscale", **options})
    assert answer.status_code == 202
    state = ended(service, answer.json()["id"])
    assert state["status"] == "succeeded"
    assert state["figures"] == {name: value for name, value in figures.items() if name not in ("image", "media_type")}
    result = service.client.get(state["links"]["result"])
    assert result.content == plain.content
    for name, value in plain.headers.items():
        assert name in ("x-request-id", "server-timing", "date") or result.headers[name] == value


def test_a_preference_makes_a_job(service: Live) -> None:
    answer = service.client.post("/v1/upscale?factor=4", content=png(), headers={"prefer": "respond-async"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    assert ended(service, answer.json()["id"])["figures"]["factor"] == 4


@pytest.mark.parametrize(("file_format", "depth"), [("png", "16"), ("tiff", "float"), ("webp", None)])
def test_one_computation_gives_files_of_every_format(service: Live, file_format: str, depth: str | None) -> None:
    job = created(service, png(channels=3), sigma=10).json()
    assert ended(service, job["id"])["status"] == "succeeded"
    computed = service.metric("denoise_pixels_total", model="upscale", device="cpu")
    options = {"format": file_format} | ({"depth": depth} if depth else {})
    result = service.client.get(job["links"]["result"], params=options)
    assert service.metric("denoise_pixels_total", model="upscale", device="cpu") == computed
    plain = service.client.post("/v1/upscale", content=png(channels=3), params={"sigma": 10, **options})
    assert result.headers["content-type"] == f"image/{file_format}"
    if depth != "float":
        assert result.content == plain.content


def test_strength_blends_with_the_bicubic_enlargement(service: Live) -> None:
    data = png()
    job = created(service, data, factor=2).json()
    ended(service, job["id"])
    before, half, after = (
        samples(service.client.get(job["links"]["result"], params={"strength": strength}).content).astype(np.float32)
        for strength in (0, 0.5, 1)
    )
    bicubic = enlarge_planes(samples(data)[None].astype(np.float32), 2)[0].clip(0, 255)
    assert np.abs(before - bicubic).max() <= 0.51
    assert np.abs(after - before).max() > 1
    assert np.abs(half - (before + after) / 2).max() <= 1.1


def test_a_blend_shows_no_color_of_transparent_pixels(service: Live) -> None:
    visible = np.full((24, 24, 4), (0, 100, 0, 255), np.uint8)
    visible[:, :12] = (255, 0, 255, 0)
    file = io.BytesIO()
    Image.fromarray(visible).save(file, "PNG")
    job = created(service, file.getvalue(), factor=2).json()
    ended(service, job["id"])
    before = samples(service.client.get(job["links"]["result"], params={"strength": 0}).content)
    assert np.abs(before[..., :3].astype(int) - (0, 100, 0)).max() <= 1


def test_a_repeated_request_starts_nothing_new(service: Live) -> None:
    def put(**options: Any) -> httpx2.Response:
        return service.client.put(f"/v1/jobs/{ID}", content=png(), params={"task": "upscale", **options})

    assert put().status_code == 202
    assert put(factor=2).status_code == 200
    conflict = put(factor=3)
    assert (conflict.status_code, conflict.json()["type"].rpartition(":")[2]) == (409, "job-conflict")
    ended(service, ID)


def test_events_end_with_the_result(service: Live) -> None:
    job = created(service, png()).json()
    with service.client.stream("GET", job["links"]["events"]) as stream:
        *_, last = read_events(stream)
    assert '"status":"succeeded"' in last["data"].replace(" ", "")


def test_a_job_can_be_canceled(service: Live) -> None:
    job = created(service, png(700, 700), factor=4, format="webp").json()
    assert service.client.delete(f"/v1/jobs/{job['id']}").json()["status"] in ("canceled", "succeeded")
    wait_for(lambda: not service.engine.tickets)


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"task": "rotate"}, "task must be denoise or upscale."),
        ({"task": "upscale", "color": "rgb"}, "Unknown option: color."),
        ({"factor": 2}, "Unknown option: factor."),
        ({"task": "upscale", "factor": 7}, "factor must be 2, 3 or 4."),
    ],
)
def test_each_task_takes_its_own_options(service: Live, options: dict[str, Any], detail: str) -> None:
    answer = service.client.post("/v1/jobs", content=png(), params=options)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)


def test_the_store_sets_room_for_the_enlarged_picture_aside(weights: Path, tmp_path: Path) -> None:
    with upscaling_service(weights, random_upscaling_weights(tmp_path), jobs_mib=1) as service:
        assert created(service, png(200, 200), factor=2).status_code == 202
        answer = created(service, png(200, 200), factor=4)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (413, "too-many-pixels")


def test_the_store_sets_room_for_the_depth_of_the_file_aside(service: Live, weights: Path, tmp_path: Path) -> None:
    options = {"factor": 4, "format": "tiff", "depth": "float"}
    job = created(service, png(100, 100), **options).json()
    ended(service, job["id"])
    file = service.client.get(job["links"]["result"]).content
    kept = 2 * 400 * 400 + len(file)  # 16-bit samples, and the file
    with upscaling_service(weights, random_upscaling_weights(tmp_path), jobs_mib=0.99 * kept / 2**20) as small:
        answer = created(small, png(100, 100), **options)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (413, "too-many-pixels")
