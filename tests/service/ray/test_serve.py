"""The service on a real Ray cluster of this machine, through Ray Serve's HTTP proxy."""

import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.support.live import PATIENCE, png, wait_for

pytest.importorskip("ray", reason="needs the extra ray: pip install -e '.[ray]'")

from benchmarks.serving.prometheus import wait_until
from benchmarks.serving.ray_cluster import cluster, deployed, replica_processes

BODY_SECONDS = 2


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cluster(tmp_path_factory.mktemp("r")) as address:
        yield address


@pytest.fixture(scope="module")
def client(metrics: str, weights: Path) -> Iterator[httpx2.Client]:  # noqa: ARG001 (the cluster)
    settings = {"queue_requests": 2, "max_body_mib": 1, "body_timeout_seconds": BODY_SECONDS}
    tiny = {"weights": str(weights), "device": "cpu", "dtype": "float32"}
    with deployed(num_cpus=0.5, settings=settings | tiny) as url, httpx2.Client(base_url=url, timeout=PATIENCE) as one:
        yield one


def test_a_picture_is_denoised_and_the_request_has_one_id(client: httpx2.Client) -> None:
    answer = client.post("/v1/denoise", params={"sigma": 25}, content=png(), headers={"x-request-id": "request-1"})
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers.get_list("x-request-id") == ["request-1"]


def test_bodies_keep_their_limits(client: httpx2.Client) -> None:
    def chunked() -> Iterator[bytes]:
        for _ in range(12):
            yield bytes(100_000)

    for body in (bytes(2 << 20), chunked()):
        answer = client.post("/v1/denoise", content=body)
        assert answer.status_code == 413
        assert answer.json()["type"].endswith(":body-too-large")


def test_a_slow_body_is_refused(client: httpx2.Client) -> None:
    assert client.base_url.port
    with socket.create_connection(("127.0.0.1", client.base_url.port), PATIENCE) as connection:
        connection.sendall(b"POST /v1/denoise HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegin")
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_full_queue_refuses_with_the_time_to_wait(client: httpx2.Client) -> None:
    picture = png(700, 700)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.post("/v1/denoise", params={"sigma": 25}, content=picture), range(8)))
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["type"].endswith(":queue-full")
            assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "name", ["queue_seconds", "queue_pixels", "pixels_per_second", "ready", "jobs_total", "rejections_total"]
)
def test_ray_exports_the_metrics_of_the_replica(client: httpx2.Client, metrics: str, name: str) -> None:
    client.post("/v1/denoise", params={"sigma": 25}, content=png())

    def exported() -> bool:
        lines = httpx2.get(metrics, timeout=PATIENCE).text.splitlines()
        return any(line.startswith(f"ray_denoise_{name}{{") and 'replica="' in line for line in lines)

    wait_for(exported)


@pytest.mark.slow
def test_a_replica_that_is_killed_costs_a_retry_and_is_replaced(client: httpx2.Client) -> None:
    (killed,) = replica_processes()
    with ThreadPoolExecutor(1) as threads:
        picture = png(1000, 1000)  # takes seconds
        waiting = threads.submit(client.post, "/v1/denoise", params={"sigma": 25}, content=picture)
        wait_for(lambda: _in_queue(client))
        os.kill(killed, signal.SIGKILL)
        answer = waiting.result(PATIENCE)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    wait_until(lambda: client.get("/readyz").status_code == 200 and replica_processes() != [killed], 5 * PATIENCE, every=0.5)
    assert client.post("/v1/denoise", params={"sigma": 25}, content=png()).status_code == 200


def _in_queue(client: httpx2.Client) -> bool:
    return "\ndenoise_queue_jobs 1.0\n" in client.get("/metrics").text
