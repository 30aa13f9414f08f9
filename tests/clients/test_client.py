"""The client and the real server: what each call returns."""

import asyncio
import base64
import hashlib
import json
from pathlib import Path

import httpx2
import numpy as np
import pytest
from n3denoise_client import (
    AccessDenied,
    AsyncClient,
    BadImage,
    Client,
    InvalidOption,
    JobConflict,
    JobGone,
    JobNotFinished,
    JobStillRunning,
    NotFound,
    Retries,
)
from n3denoise_client.results import Job

from tests.support.clients import Clock, Connect
from tests.support.faulty import Gate, scripted
from tests.support.live import Live, live, png, png_of, settings_for, wait_for

ID = "an-id-of-the-client"


def test_a_picture_comes_with_the_figures_in_the_headers(service: Live, connect: Connect, tmp_path: Path) -> None:
    noisy, clean = png(64, 48, 3), png(64, 48, 3, seed=1)
    path = tmp_path / "noisy.png"
    path.write_bytes(noisy)
    options = {"sigma": "25.5", "color": "rgb", "format": "jpeg", "ensemble": "true"}
    raw = service.client.post("/v1/denoise", files={"image": noisy, "reference": clean}, params=options)
    denoised = connect(service).denoise(path, reference=clean, sigma=25.5, color="rgb", format="jpeg", ensemble=True)
    assert denoised.image == raw.content
    assert denoised.media_type == "image/jpeg"
    assert (denoised.sigma, denoised.model, denoised.device) == (25.5, "n3unet", "cpu")
    assert denoised.psnr_gain == float(raw.headers["x-psnr-gain"])
    assert denoised.ssim_noisy == float(raw.headers["x-ssim-noisy"])
    assert denoised.weights_sha256 == raw.headers["x-weights-sha256"]
    assert {"decode", "infer", "total"} <= denoised.server_timing.keys()
    assert denoised.figures is None


def test_estimates_and_warnings(service: Live, connect: Connect) -> None:
    client, flat = connect(service), png_of(np.full((48, 40), 120, np.uint8))
    raw = service.client.post("/v1/denoise", content=flat)
    denoised = client.denoise(flat)
    assert denoised.sigma_confidence == float(raw.headers["x-sigma-confidence"])
    assert denoised.warnings
    assert ", ".join(denoised.warnings) == raw.headers["x-warnings"]
    photons = client.denoise(png(64, 48), noise="poisson", gain=0.5, read_noise=2)
    assert (photons.gain, photons.read_noise, photons.offset) == (0.5, 2, 0)


def test_all_figures_come_with_the_same_picture(service: Live, connect: Connect) -> None:
    client, noisy = connect(service), png(64, 48, 3)
    raw = service.client.post("/v1/denoise", content=noisy, headers={"accept": "application/json"}).json()
    denoised = client.denoise(noisy, figures=True)
    assert denoised.image == client.denoise(noisy).image == base64.b64decode(raw["image"])
    assert denoised.media_type == "image/png"
    assert denoised.figures is not None
    assert denoised.figures.model_dump(mode="json") == {
        name: value for name, value in raw.items() if name not in ("image", "media_type")
    }
    assert client.denoise(noisy, noise_map=True).figures is not None


def test_a_mask_says_where_to_denoise(service: Live, connect: Connect) -> None:
    noisy, black = png(), png_of(np.zeros((48, 40), np.uint8))
    masked = connect(service).denoise(noisy, mask=black, sigma=40, format="bmp")
    untouched = service.client.post("/v1/denoise", content=noisy, params={"strength": 0, "sigma": 40, "format": "bmp"})
    assert masked.image == untouched.content


def test_noise_evaluation_and_neighbors(service: Live, connect: Connect) -> None:
    client, picture = connect(service), png(64, 64)
    noise = client.estimate(picture, noise_map=True)
    assert noise.sigma > 0
    assert noise.noise_map is None or noise.noise_map.startswith(b"\x89PNG")
    evaluated = client.evaluate(picture, sigma=30, seed=7)
    assert (evaluated.sigma, evaluated.seed, evaluated.width) == (30, 7, 64)
    assert evaluated.noisy_image.startswith(b"\x89PNG")
    assert evaluated.noisy.psnr == pytest.approx(18.6, abs=0.5)
    side_by_side = client.evaluate_image(picture, sigma=30, seed=7)
    assert side_by_side.psnr_noisy == pytest.approx(evaluated.noisy.psnr, abs=1e-3)
    assert side_by_side.seed == 7
    neighbors = client.neighbors(picture, x=20, y=30)
    assert (neighbors.x, neighbors.y) == (20, 30)
    weights = [candidate.weight for candidate in neighbors.neighbors[0].candidates]
    assert sum(weights) == pytest.approx(1, abs=1e-3)
    heat_map = client.heat_map(picture, x=20, y=30)
    assert heat_map.media_type == "image/png"
    assert heat_map.temperature == pytest.approx(neighbors.temperature, rel=1e-2)


def test_models_and_info(service: Live, connect: Connect) -> None:
    client = connect(service)
    assert "n3net" in [model.name for model in client.models().models]
    assert client.info().limits.max_pixels == service.server.settings.max_pixels


def test_a_job_from_its_id_to_its_result(service: Live, connect: Connect) -> None:
    states: list[Job] = []
    client, noisy = connect(service, sleep=lambda _: None), png(64, 48, 3)
    assert client.create_job(noisy, job_id=ID, color="rgb").id == ID
    with pytest.raises(JobConflict):
        client.create_job(noisy, job_id=ID, color="gray")
    job = client.wait(ID, progress=states.append)
    assert job == states[-1] == client.job(ID)
    assert (job.status, job.progress, job.ended) == ("succeeded", 1, True)
    assert job.figures
    assert job.figures.width == 48
    assert client.job_result(ID).image == client.denoise(noisy, color="rgb").image
    tiff = client.job_result(ID, format="tiff", depth="16", strength=0.5)
    assert tiff.media_type == "image/tiff"
    assert client.delete_job(ID).status == "succeeded"
    with pytest.raises(NotFound):
        client.job(ID)


def test_progress_is_told_and_the_job_deleted(weights: Path, connect: Connect) -> None:
    gate, states, slept = Gate(), list[Job](), list[float]()
    with live(settings_for(weights), scripted(weights, gate)) as service:

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            gate.open()
            before = states[-1].progress
            wait_for(lambda: service.client.get(f"/v1/jobs/{states[-1].id}").json()["progress"] > before)

        retries = Retries(chance=lambda: 0)
        denoised = connect(service, sleep=sleep, retries=retries).denoise_in_background(
            png(64, 32), sigma=25, progress=states.append
        )
        gate.open(4)
        assert denoised.image == service.denoise(png(64, 32)).content
        progress = [state.progress for state in states]
        assert len(progress) == len(set(progress)) == len(slept) + 1 >= 5
        assert progress == sorted(progress)
        assert [states[0].progress, states[-1].progress] == [0, 1]
        assert all(1 <= seconds <= 10 for seconds in slept)
        assert service.client.get(states[-1].links.self).status_code == 404


class Interruption(BaseException):
    """What Ctrl-C would raise."""


@pytest.mark.parametrize("where", ["progress", "sleep"])
def test_whatever_interrupts_the_waiting_cancels_the_job(weights: Path, connect: Connect, where: str) -> None:
    gate, states = Gate(), list[Job]()

    def interrupt(_: object) -> None:
        raise Interruption

    def progress(job: Job) -> None:
        states.append(job)
        if where == "progress":
            interrupt(job)

    with live(settings_for(weights), scripted(weights, gate)) as service:
        client = connect(service, sleep=interrupt)
        with pytest.raises(Interruption):
            client.denoise_in_background(png(64, 32), sigma=25, progress=progress)
        assert service.client.get(states[-1].links.self).json()["status"] == "canceled"
        with pytest.raises(JobGone):
            client.job_result(states[-1].id)
        gate.open(4)


def test_a_canceled_task_cancels_its_job(weights: Path) -> None:
    gate = Gate()

    async def cancel(address: str) -> Job:
        states: asyncio.Queue[Job] = asyncio.Queue()
        async with AsyncClient(address) as client:
            task = asyncio.create_task(client.denoise_in_background(png(64, 32), sigma=25, progress=states.put_nowait))
            state = await states.get()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await client.job(state.id)

    with live(settings_for(weights), scripted(weights, gate)) as service:
        assert asyncio.run(cancel(f"http://127.0.0.1:{service.port}")).status == "canceled"
        gate.open(4)


def test_waiting_for_a_job_ends_at_the_deadline(weights: Path, connect: Connect) -> None:
    gate, clock = Gate(), Clock()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        client = connect(service, sleep=clock.sleep, retries=Retries(clock=clock))
        job = client.create_job(png(64, 32), sigma=25)
        with pytest.raises(JobStillRunning) as caught:
            client.wait(job.id, deadline_seconds=30)
        assert caught.value.job.id == job.id
        assert 20 <= sum(clock.slept) < 30
        with pytest.raises(JobNotFinished):
            client.job_result(job.id)
        gate.open(4)


def test_events_tell_each_state(weights: Path, connect: Connect) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        client = connect(service)
        job = client.create_job(png(64, 32), sigma=25)
        progress = []
        for state in client.job_events(job.id):
            progress.append(state.progress)
            gate.open()
        assert state.status == "succeeded"
        assert len(progress) > 2
        assert progress == sorted(progress)


def event(state: dict[str, object], number: int) -> str:
    return f"event: state\nid: {number}\ndata: {json.dumps(state)}\n\n"


def test_a_stream_of_events_that_breaks_off_is_opened_again(service: Live, connect: Connect) -> None:
    service.client.put(f"/v1/jobs/{ID}", content=png(), params={"sigma": 25})
    wait_for(lambda: service.client.get(f"/v1/jobs/{ID}").json()["status"] == "succeeded")
    last = service.client.delete(f"/v1/jobs/{ID}").json()
    first = last | {"status": "running", "progress": 0.5}
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers.get("last-event-id"))
        states = {1: event(first, 7), 2: ": ping\n\n", 3: event(last, 8)}
        return httpx2.Response(200, text=states[len(asked)], headers={"content-type": "text/event-stream"})

    client = connect(None, transport=httpx2.MockTransport(answer), sleep=lambda _: None)
    assert [state.progress for state in client.job_events(ID)] == [0.5, 1]
    assert asked == [None, "7", "7"]


def test_an_api_key_is_sent_and_its_jobs_are_listed(weights: Path, connect: Connect) -> None:
    settings = settings_for(weights, api_key_hashes=[hashlib.sha256(b"open sesame").hexdigest()])
    with live(settings) as service:
        with pytest.raises(AccessDenied) as caught:
            connect(service).denoise(png())
        assert (caught.value.status, caught.value.code) == (401, "unauthorized")
        client = connect(service, api_key="open sesame")
        jobs = [client.create_job(png(), sigma=25).id for _ in range(3)]
        page = client.list_jobs(limit=2)
        assert page.next
        assert [job.id for job in (*page.jobs, *client.list_jobs(after=page.next).jobs)] == jobs[::-1]


def test_problems_become_exceptions(service: Live, connect: Connect) -> None:
    client: Client = connect(service)
    with pytest.raises(BadImage) as bad:
        client.denoise(b"no picture")
    assert bad.value.code == "unsupported-format"
    assert bad.value.request_id
    with pytest.raises(InvalidOption) as invalid:
        client.denoise(png(), sigma=500)
    assert invalid.value.code == "sigma-out-of-range"
    assert invalid.value.members["sigma_max"] == 75
    assert "from 0 to 75" in str(invalid.value)
    with pytest.raises(AccessDenied):
        client.list_jobs()
