"""Keys, origins, headers, the account of uploads, and what logs and disks must never see."""

import hashlib
import hmac
import io
import json
import logging
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import structlog
from PIL import Image
from starlette.middleware.base import BaseHTTPMiddleware

from service.api.server import Server
from service.engine.backend import Backend
from service.imaging import codec
from service.telemetry.logs import configure_logs
from tests.support.faulty import Gate, Strip, scripted
from tests.support.live import PATIENCE, Live, live, png, settings_for, wait_for

KEYS = ("first-key", "second-key")


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


@pytest.fixture(scope="module")
def closed(weights: Path) -> Iterator[Live]:
    """A server with keys and an origin."""
    hashes = ",".join(hashlib.sha256(key.encode()).hexdigest() for key in KEYS)
    with live(settings_for(weights, api_key_hashes=hashes, cors_origins="https://a.example")) as running:
        yield running


@pytest.mark.parametrize("key", KEYS)
def test_any_of_the_keys_opens(closed: Live, key: str) -> None:
    for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}, {"authorization": f"bearer {key}"}):
        assert closed.client.post("/v1/denoise?sigma=5", content=png(), headers=headers).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "first-ke"}, {"x-api-key": ""}, {"authorization": "Basic first-key"}])
def test_without_a_key_the_api_is_closed_and_health_is_open(closed: Live, headers: dict[str, str]) -> None:
    answer = closed.client.post("/v1/denoise?sigma=5&api_key=first-key", content=png(), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:n3denoise:error:unauthorized"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json"):
        assert closed.client.get(path, headers=headers).status_code == 200


def test_every_key_is_compared_in_constant_time(closed: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def spy(one: str, other: str) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", spy)
    for key in (*KEYS, "wrong", ""):
        compared.clear()
        assert closed.client.get("/v1/info", headers={"x-api-key": key}).status_code == (200 if key in KEYS else 401)
        assert tuple(compared) == closed.server.settings.api_key_hashes


def test_a_hash_is_not_a_key(closed: Live) -> None:
    digest = hashlib.sha256(KEYS[0].encode()).hexdigest()
    assert closed.client.get("/v1/info", headers={"x-api-key": digest}).status_code == 401


def test_cors_is_off_unless_set(service: Live, closed: Live) -> None:
    origin = {"origin": "https://a.example"}
    assert "access-control-allow-origin" not in service.client.get("/livez", headers=origin).headers
    assert closed.client.get("/livez", headers=origin).headers["access-control-allow-origin"] == "https://a.example"
    assert "access-control-allow-origin" not in closed.client.get("/livez", headers={"origin": "https://b.example"}).headers
    refused = closed.client.get("/v1/info", headers=origin)  # a browser can read the errors too
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://a.example"
    assert refused.headers["x-request-id"]


@pytest.mark.parametrize(
    ("origin", "method", "status"),
    [
        ("https://a.example", "POST", 200),
        ("https://b.example", "POST", 400),
        ("https://a.example", "DELETE", 200),
        ("https://a.example", "PATCH", 400),
    ],
)
def test_a_preflight_is_answered_as_any_request(closed: Live, origin: str, method: str, status: int) -> None:
    preflight = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": "x-api-key"}
    labels = {"http_request_method": "OPTIONS", "http_route": "unmatched", "http_response_status_code": str(status)}
    before = closed.metric("http_server_request_duration_seconds_count", **labels)
    answer = closed.client.options("/v1/denoise", headers=preflight)
    assert answer.status_code == status
    assert_security_headers(answer.headers)
    if status == 200:
        assert answer.headers["access-control-allow-origin"] == origin
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["instance"].endswith(answer.headers["x-request-id"])
        assert not {origin, method} & set(answer.text.split('"'))
    wait_for(lambda: closed.metric("http_server_request_duration_seconds_count", **labels) == before + 1)


@pytest.mark.parametrize("path", ["/livez", "/nowhere", "/v1/info", "/v1/denoise"])
def test_every_answer_has_the_security_headers(service: Live, path: str) -> None:
    assert_security_headers(service.client.get(path).headers)


def assert_security_headers(headers: Mapping[str, str]) -> None:
    assert headers["x-request-id"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_bodies_are_bounded_together(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    settings = settings_for(weights, max_uploads_mib=0.1, max_body_mib=0.09)
    held = png(48, 32) + bytes(60_000)  # what follows a picture's end is no part of it
    with live(settings, scripted(weights, gate)) as service, ThreadPoolExecutor(1) as clients:
        first = clients.submit(service.denoise, held)
        gate.wait()
        with monkeypatch.context() as slow:
            slow.setattr(service.engine.throughput, "seconds_for", lambda pixels: pixels / 64)
            refused = service.denoise(held)
        assert refused.status_code == 429
        assert refused.json()["type"] == "urn:n3denoise:error:uploads-full"
        assert refused.headers["retry-after"] == str(48 * 32 // 64)
        gate.open(10)
        assert first.result(PATIENCE).status_code == 200
        wait_for(lambda: service.server.context.uploads_bytes == 0)
        assert service.denoise(held).status_code == 200


def test_nothing_is_written_to_disk(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a temporary file")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    files = {"image": png(1200, 1200), "reference": png(1200, 1200)}  # 1.3 MiB each, more than frameworks keep in memory
    assert service.client.post("/v1/denoise", files=files, data={"sigma": "5", "strength": "0"}).status_code == 200


@pytest.fixture
def stream(weights: Path) -> Iterator[io.StringIO]:
    """Where the logs go, as JSON and with everything that debugging shows."""
    root = logging.getLogger()
    before = root.handlers, root.level
    stream = io.StringIO()
    configure_logs(settings_for(weights, log_format="json", log_level="debug"), stream)
    yield stream
    root.handlers, root.level = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_logs_tell_the_request_but_neither_names_nor_paths_nor_tags(stream: io.StringIO, weights: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "holiday description"
    buffer = io.BytesIO()
    Image.new("L", (40, 40), 90).save(buffer, "PNG", exif=exif)
    with live(settings_for(weights)) as service:
        files = {"image": ("holiday.png", buffer.getvalue())}
        headers = {"x-request-id": "request-17"}
        assert service.client.post("/v1/denoise", files=files, data={"sigma": "5"}, headers=headers).status_code == 200
        service.client.get("/private/holiday.png?holiday=1")
        service.client.get("/livez")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (told,) = [line for line in lines if line.get("id") == "request-17"]
    assert (told["event"], told["route"], told["status"], told["outcome"]) == ("request", "/v1/denoise", 200, "ok")
    assert any(line.get("route") == "unmatched" for line in lines)
    assert any(line.get("route") == "/livez" and line["level"] == "debug" for line in lines)
    server_lines = [line for line in stream.getvalue().splitlines() if "HTTP Request" not in line]  # this test's own client
    assert "holiday" not in "".join(server_lines)


def test_tracebacks_show_no_pixels(weights: Path) -> None:
    def fail(strip: Strip) -> None:
        if strip.noisy.shape[1] == 32:
            raise ValueError("of the test")

    root = logging.getLogger()
    before = root.handlers, root.level
    stream = io.StringIO()
    configure_logs(settings_for(weights), stream)
    try:
        with live(settings_for(weights), scripted(weights, fail)) as service:
            assert service.denoise(png(32, 32)).status_code == 500
    finally:
        root.handlers, root.level = before
        structlog.reset_defaults()
        logging.captureWarnings(capture=False)
    assert "computation failed" in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert "tensor(" not in stream.getvalue()
    assert "array(" not in stream.getvalue()


def test_no_middleware_hides_hang_ups(service: Live) -> None:
    kinds = [middleware.cls for middleware in service.server.app.user_middleware]
    assert not any(isinstance(kind, type) and issubclass(kind, BaseHTTPMiddleware) for kind in kinds)


def test_the_event_loop_never_computes(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[str, str] = {}

    def watched(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            threads[name] = threading.current_thread().name
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapper)

    watched(codec, "open_image")
    watched(codec.ImageFile, "decode")
    watched(codec, "encode")
    watched(Backend, "check")

    def script(strip: Any) -> None:  # noqa: ARG001
        threads["strip"] = threading.current_thread().name

    with live(settings_for(weights), scripted(weights, script)) as service:
        assert service.denoise().status_code == 200
    assert {name: thread.split("_")[0] for name, thread in threads.items()} == {
        "open_image": "read-small",
        "decode": "decode-small",
        "encode": "encode-small",
        "check": "compute",
        "strip": "compute",
    }


def test_metrics_have_labels_from_closed_sets_only(service: Live) -> None:
    for number in range(3):
        service.client.get(f"/made-up-{number}")
        service.client.request(f"METHOD{number}", "/livez")
    text = service.client.get("/metrics").text
    assert "made-up" not in text
    assert "METHOD" not in text
    assert 'http_request_method="_OTHER"' in text
    assert 'http_route="unmatched"' in text


def test_a_full_queue_refuses_before_the_body_is_read(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights, queue_requests=1), scripted(weights, gate)) as service, ThreadPoolExecutor(1) as clients:
        first = clients.submit(service.denoise, png(32, 32))
        gate.wait()
        with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
            connection.sendall(b"POST /v1/denoise?sigma=5 HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")  # and no body
            answer = connection.recv(4096).lower()
        assert answer.startswith(b"http/1.1 429")
        assert b"retry-after: " in answer
        # uvicorn's own limit would refuse these too, and without a Retry-After
        assert service.server.config.limit_concurrency is None
        assert service.client.get("/livez").status_code == service.client.get("/readyz").status_code == 200
        assert service.metric("denoise_rejections_total", reason="queue-full") == 1
        assert service.metric("denoise_jobs_total", model="n3unet", outcome="rejected") == 1
        gate.open(2)
        assert first.result(PATIENCE).status_code == 200


def test_a_public_address_without_a_key_is_warned_of(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.api import server

    monkeypatch.setattr(Server, "run", lambda _: None)
    monkeypatch.setattr(server, "configure_logs", lambda _: None)
    warnings: list[str] = []

    class Log:
        def warning(self, event: str, **_: Any) -> None:
            warnings.append(event)

    monkeypatch.setattr(server, "log", Log)
    for host, expected in (("127.0.0.1", 0), ("localhost", 0), ("::1", 0), ("0.0.0.0", 1), ("10.1.2.3", 1)):
        warnings.clear()
        server.serve(settings_for(weights, host=host))
        assert len(warnings) == expected
    warnings.clear()
    server.serve(settings_for(weights, host="0.0.0.0", api_key_hashes="0" * 64))
    assert not warnings
