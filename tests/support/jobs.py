"""Background jobs over HTTP."""

import io
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from tests.support.live import Live, png, wait_for


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


def read_events(stream: httpx2.Response) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in stream.iter_lines():
        if not line and event:
            yield event
            event = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value
