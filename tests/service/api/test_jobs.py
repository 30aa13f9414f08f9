"""Background jobs over real HTTP: what they return, and what they refuse."""

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.jobs import create, ended, samples
from tests.support.live import Live, live, png, settings_for, wait_for

ID = "client-chosen-id-1"


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


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
    computed = service.metric("denoise_pixels_total", model="n3unet", device="cpu")
    options = {"format": file_format} | ({"depth": depth} if depth else {})
    result = service.client.get(job["links"]["result"], params=options)
    assert service.metric("denoise_pixels_total", model="n3unet", device="cpu") == computed
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
    computed = service.metric("denoise_pixels_total", model="n3unet", device="cpu")
    whole = service.client.get(job["links"]["result"])
    for strength in (0.0, 0.4):
        result = service.client.get(job["links"]["result"], params={"strength": strength})
        blended = samples(data) + strength * (samples(whole.content).astype(float) - samples(data))
        np.testing.assert_allclose(samples(result.content), blended, atol=1)
    assert service.metric("denoise_pixels_total", model="n3unet", device="cpu") == computed
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


def test_a_job_survives_its_client(service: Live) -> None:
    data, job_id = png(), "nobody-waits-for-it"
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        head = f"PUT /v1/jobs/{job_id}?sigma=25 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)
    wait_for(lambda: service.client.get(f"/v1/jobs/{job_id}").status_code == 200)
    assert ended(service, job_id)["status"] == "succeeded"
