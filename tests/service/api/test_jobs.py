"""Background jobs over real HTTP."""

import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from tests.support.faulty import Gate, scripted
from tests.support.live import PATIENCE, Live, live, png, settings_for, wait_for

ID = "client-chosen-id-1"


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


def create(service: Live, data: bytes | None = None, job_id: str | None = None, **options: Any) -> httpx2.Response:
    parameters = {"sigma": 25, **options}
    method, path = ("PUT", f"/v1/jobs/{job_id}") if job_id else ("POST", "/v1/jobs")
    return service.client.request(method, path, content=png() if data is None else data, params=parameters)


def state_of(service: Live, job_id: str) -> dict[str, Any]:
    answer = service.client.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    state: dict[str, Any] = answer.json()
    return state


def ended(service: Live, job_id: str) -> dict[str, Any]:
    wait_for(lambda: state_of(service, job_id)["status"] not in ("queued", "running"))
    return state_of(service, job_id)


def samples(file: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(file)))


def test_a_job_gives_what_a_plain_request_gives(service: Live) -> None:
    data, clean = png(64, 48, 3), png(64, 48, 3, seed=1)
    form = {"image": data, "reference": clean}
    options = {"sigma": "25", "color": "rgb", "format": "jpeg"}
    plain = service.client.post("/v1/denoise", files=form, params=options)
    figures = service.client.post("/v1/denoise", files=form, params=options, headers={"accept": "application/json"}).json()
    answer = service.client.post("/v1/jobs", files=form, params=options)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    state = ended(service, job["id"])
    assert (state["status"], state["progress"], state["eta_seconds"], state["error"]) == ("succeeded", 1.0, None, None)
    assert state["created_at"] <= state["started_at"] <= state["finished_at"] < state["expires_at"]
    assert state["figures"] == {name: value for name, value in figures.items() if name not in ("image", "media_type")}
    result = service.client.get(state["links"]["result"])
    assert result.content == plain.content
    varying = ("x-request-id", "server-timing", "date")
    for name, value in plain.headers.items():
        assert name in varying or result.headers[name] == value


@pytest.mark.parametrize(
    ("file_format", "depth"), [("png", "8"), ("png", "16"), ("tiff", "float"), ("webp", None), ("bmp", None)]
)
def test_one_computation_gives_files_of_every_format(service: Live, file_format: str, depth: str | None) -> None:
    data = png(64, 48, 3)
    job = create(service, data, color="rgb").json()
    assert ended(service, job["id"])["status"] == "succeeded"
    computed = service.metric("denoise_pixels_total", model="n3net", device="cpu")
    options = {"format": file_format} | ({"depth": depth} if depth else {})
    result = service.client.get(job["links"]["result"], params=options)
    assert service.metric("denoise_pixels_total", model="n3net", device="cpu") == computed
    plain = service.denoise(data, color="rgb", **options)
    assert result.headers["content-type"] == plain.headers["content-type"] == f"image/{file_format}"
    if depth != "float":
        assert result.content == plain.content
    else:
        import tifffile

        found, expected = (tifffile.imread(io.BytesIO(each.content)) for each in (result, plain))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected.clip(0, 1), atol=1 / 65535)


def test_the_result_is_blended_with_the_input_without_another_computation(service: Live) -> None:
    data = png(64, 48, 3)
    job = create(service, data, color="rgb", sigma=60).json()
    ended(service, job["id"])
    computed = service.metric("denoise_pixels_total", model="n3net", device="cpu")
    whole = service.client.get(job["links"]["result"])
    for strength in (0.0, 0.4):
        result = service.client.get(job["links"]["result"], params={"strength": strength})
        blended = samples(data) + strength * (samples(whole.content).astype(float) - samples(data))
        np.testing.assert_allclose(samples(result.content), blended, atol=1)
    assert service.metric("denoise_pixels_total", model="n3net", device="cpu") == computed
    untouched = service.client.get(job["links"]["result"], params={"strength": 0})
    np.testing.assert_array_equal(samples(untouched.content), samples(data))


def test_quality_headers_are_those_of_the_returned_pixels(service: Live) -> None:
    answer = service.client.post("/v1/jobs", files={"image": png(), "reference": png(seed=1)}, params={"sigma": 25})
    links = answer.json()["links"]
    ended(service, answer.json()["id"])
    assert "x-psnr-denoised" in service.client.get(links["result"]).headers
    for options in ({"format": "jpeg"}, {"strength": 0.5}):
        other = service.client.get(links["result"], params=options)
        assert "x-psnr-denoised" not in other.headers
        assert other.headers["x-sigma"] == "25"


def test_a_plain_request_can_ask_to_be_answered_at_once(service: Live) -> None:
    parameters = {"sigma": 25}
    answer = service.client.post("/v1/denoise", content=png(), params=parameters, headers={"prefer": "wait=5, Respond-Async"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    assert ended(service, answer.json()["id"])["status"] == "succeeded"


def test_the_same_request_with_the_same_id_starts_nothing_new(service: Live) -> None:
    first, again = (create(service, job_id=ID) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["created_at"] == again.json()["created_at"]
    for other in (create(service, png(seed=2), job_id=ID), create(service, job_id=ID, sigma=26)):
        assert other.status_code == 409
        assert other.json()["type"].endswith("job-conflict")
    assert ended(service, ID)["status"] == "succeeded"
    service.client.delete(f"/v1/jobs/{ID}")


def test_a_job_that_fails_says_why(service: Live) -> None:
    damaged = bytearray(png(300, 200))
    damaged[20_000] ^= 1
    job = create(service, bytes(damaged)).json()
    state = ended(service, job["id"])
    assert state["status"] == "failed"
    assert state["error"]["type"].endswith("undecodable-image")
    result = service.client.get(job["links"]["result"])
    assert result.status_code == 422
    assert result.json() == state["error"]
    assert result.headers["content-type"] == "application/problem+json"


def test_requests_are_refused_as_plain_ones_are(service: Live) -> None:
    assert create(service, b"no picture").status_code == 415
    assert create(service, sigma="a lot").status_code == 422
    assert create(service, b"").status_code == 400
    short = create(service, job_id="short")
    assert short.status_code == 422
    assert "16 to 64" in short.json()["detail"]
    for path in ("/v1/jobs/none-of-that-name", "/v1/jobs/x", "/v1/jobs/none-of-that-name/result", "/v1/jobs/a:b/events"):
        assert service.client.get(path).status_code == 404, path
    assert service.client.delete("/v1/jobs/none-of-that-name").status_code == 404
    done = create(service).json()
    ended(service, done["id"])
    refused = service.client.get(done["links"]["result"], params={"format": "gif"})
    assert refused.status_code == 422
    assert "format must be" in refused.json()["detail"]


def test_progress_is_told_until_the_job_ends(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        gate.wait()
        state = state_of(service, job["id"])
        assert (state["progress"], state["figures"]) == (0, None)
        unfinished = service.client.get(job["links"]["result"])
        assert unfinished.status_code == 409
        assert unfinished.json()["type"].endswith("job-not-finished")
        assert int(unfinished.headers["retry-after"]) >= 1
        gate.open(2)
        wait_for(lambda: state_of(service, job["id"])["progress"] == 0.5)
        state = state_of(service, job["id"])
        assert state["status"] == "running"
        assert state["eta_seconds"] >= 0
        assert service.metric("denoise_background_jobs") == 1
        gate.open(2)
        assert ended(service, job["id"])["status"] == "succeeded"
        wait_for(lambda: service.metric("denoise_background_jobs") == 0)


def test_a_canceled_job_ends_within_a_strip_and_frees_everything(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        job = create(service, png(160, 32)).json()
        gate.wait()
        assert service.client.delete(job["links"]["self"]).status_code == 204
        assert not service.engine.tickets
        assert state_of(service, job["id"])["status"] == "canceled"
        gone = service.client.get(job["links"]["result"])
        assert gone.status_code == 410
        gate.open(1)
        other = create(service, png(16, 32)).json()
        gate.open(1)
        assert ended(service, other["id"])["status"] == "succeeded"
        assert gate.strips == [160, 16], "the canceled job went on"
        assert service.metric("denoise_jobs_total", model="n3net", outcome="cancelled") == 1
        assert service.client.delete(job["links"]["self"]).status_code == 204
        assert service.client.get(job["links"]["self"]).status_code == 404


def test_a_job_survives_its_client(service: Live) -> None:
    data, job_id = png(), "nobody-waits-for-it"
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        head = f"PUT /v1/jobs/{job_id}?sigma=25 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)
    wait_for(lambda: service.client.get(f"/v1/jobs/{job_id}").status_code == 200)
    assert ended(service, job_id)["status"] == "succeeded"


def test_events_tell_every_state_and_resume(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        events = []
        with service.client.stream("GET", job["links"]["events"]) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for event in read_events(stream):
                events.append(event)
                gate.open(1)
        states = [json.loads(event["data"]) for event in events]
        assert {event["event"] for event in events} == {"state"}
        assert states[-1]["status"] == "succeeded"
        progress = [state["progress"] for state in states]
        assert progress == sorted(progress)
        assert len(states) > 2
        headers = {"last-event-id": events[-2]["id"]}
        with service.client.stream("GET", job["links"]["events"], headers=headers) as stream:
            assert [event["id"] for event in read_events(stream)] == [events[-1]["id"]]
        headers = {"last-event-id": events[-1]["id"]}
        with service.client.stream("GET", job["links"]["events"], headers=headers) as stream:
            assert not list(read_events(stream)), "nothing has changed since"
        assert service.client.get("/v1/jobs/none-of-that-name/events").status_code == 404


def read_events(stream: httpx2.Response) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in stream.iter_lines():
        if not line and event:
            yield event
            event = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


def test_a_job_has_a_deadline_of_its_own(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights, job_timeout_seconds=0.5), scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        state = ended(service, job["id"])
        assert state["status"] == "failed"
        assert state["error"]["type"].endswith("deadline-exceeded")
        assert not service.engine.tickets
        gate.open(9)


def test_a_job_may_take_longer_than_a_request(weights: Path) -> None:
    gate = Gate()
    settings = settings_for(weights, timeout_seconds=0.3, queue_timeout_seconds=0.2)
    with live(settings, scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        gate.wait()
        time.sleep(0.4)
        assert state_of(service, job["id"])["status"] == "running"
        gate.open(4)
        assert ended(service, job["id"])["status"] == "succeeded"


def test_a_full_store_refuses_and_keeps_what_it_has(weights: Path) -> None:
    with live(settings_for(weights, jobs_mib=0.05, job_keep_seconds=600)) as service:
        first = create(service).json()
        assert ended(service, first["id"])["status"] == "succeeded"
        second = create(service).json()
        ended(service, second["id"])
        refused = create(service)
        assert refused.status_code == 429
        assert refused.json()["type"].endswith("jobs-full")
        assert 500 < int(refused.headers["retry-after"]) <= 600
        assert not service.engine.tickets
        assert service.client.get(first["links"]["result"]).status_code == 200
        service.client.delete(first["links"]["self"])
        assert create(service).status_code == 202
        never = create(service, png(300, 300))
        assert never.status_code == 413
        assert service.denoise().status_code == 200, "plain requests need no room"


def test_jobs_belong_to_the_key_that_created_them(weights: Path) -> None:
    import hashlib

    hashes = ",".join(hashlib.sha256(key.encode()).hexdigest() for key in ("one", "two"))
    with live(settings_for(weights, api_key_hashes=hashes)) as service:
        one, two = {"x-api-key": "one"}, {"x-api-key": "two"}
        ids = []
        for _ in range(3):
            answer = service.client.post("/v1/jobs", content=png(), params={"sigma": 25}, headers=one)
            ids.append(answer.json()["id"])
            wait_for(lambda: service.client.get(f"/v1/jobs/{ids[-1]}", headers=one).json()["status"] == "succeeded")
        for method, path in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("DELETE", "")):
            assert service.client.request(method, f"/v1/jobs/{ids[0]}{path}", headers=two).status_code == 404
        assert service.client.get("/v1/jobs", headers=two).json() == {"jobs": [], "next": None}
        page = service.client.get("/v1/jobs", params={"limit": 2}, headers=one).json()
        assert [job["id"] for job in page["jobs"]] == [ids[2], ids[1]]
        rest = service.client.get("/v1/jobs", params={"after": page["next"]}, headers=one).json()
        assert [job["id"] for job in rest["jobs"]] == [ids[0]]
        assert rest["next"] is None


def test_without_keys_nobody_sees_the_jobs_of_others(service: Live) -> None:
    assert service.client.get("/v1/jobs").status_code == 403


def test_a_result_expires(weights: Path) -> None:
    with live(settings_for(weights, job_keep_seconds=0.5)) as service:
        job = create(service).json()
        wait_for(lambda: state_of(service, job["id"])["status"] == "expired")
        assert service.client.get(job["links"]["result"]).status_code == 410
        wait_for(lambda: service.client.get(job["links"]["self"]).status_code == 404)
        wait_for(lambda: service.metric("denoise_job_store_bytes") == 0)


def test_a_job_is_finished_and_fetched_before_the_process_ends(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights, grace_seconds=PATIENCE), scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        gate.wait()
        service.server.handle_exit(15, None)
        assert create(service).status_code == 503
        gate.open(4)
        assert ended(service, job["id"])["status"] == "succeeded"
        assert service.thread.is_alive(), "the result would be lost"
        assert service.client.get(job["links"]["result"]).status_code == 200
        service.thread.join(PATIENCE)
        assert not service.thread.is_alive()
        assert service.server.exit_code == 0


def test_a_job_that_cannot_be_finished_is_canceled_by_the_shutdown(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights, grace_seconds=4), scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        gate.wait()
        service.server.handle_exit(15, None)
        wait_for(lambda: state_of(service, job["id"])["status"] == "canceled")
        state = state_of(service, job["id"])
        assert state["error"]["type"].endswith("draining")
        gate.open(9)


def test_each_job_is_counted_once(weights: Path) -> None:
    with live(settings_for(weights)) as service:
        job = create(service).json()
        ended(service, job["id"])
        service.client.get(job["links"]["result"])
        assert create(service, b"no picture").status_code == 415
        wait_for(lambda: service.metric("denoise_background_jobs") == 0)
        assert service.metric("denoise_jobs_total", model="n3net", outcome="ok") == 1
        assert service.metric("denoise_jobs_total", model="n3net", outcome="client_error") == 1
