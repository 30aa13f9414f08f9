"""The server: draining, and clients that are slow, rude or gone."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from service.api.server import EXIT_FORCED
from tests.support.faulty import Gate, scripted
from tests.support.live import PATIENCE, Live, live, png, settings_for, wait_for


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights, max_header_kib=4)) as running:
        yield running


def connect(service: Live) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), PATIENCE)


def read_all(connection: socket.socket) -> bytes:
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data


def problem_in(raw: bytes) -> dict[str, object]:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    document: dict[str, object] = json.loads(body)
    return document


def test_draining_shows_and_finishes_what_was_accepted(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service, ThreadPoolExecutor(1) as clients:
        accepted = clients.submit(service.denoise, png(32, 32))
        gate.wait()
        service.server.handle_exit(signal.SIGTERM, None)
        answer = service.client.get("/readyz")  # on a new or kept connection: the listener is still open
        assert answer.status_code == 503
        assert answer.json()["type"].endswith(":draining")
        assert answer.headers["connection"] == "close"
        connect(service).close()
        refused = service.denoise()
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert service.client.get("/livez").status_code == 200
        assert service.metric("denoise_draining") == 1
        assert service.metric("denoise_rejections_total", reason="draining") == 1
        gate.open(2)
        assert accepted.result(PATIENCE).status_code == 200
        service.thread.join(PATIENCE)
        assert not service.thread.is_alive()
        assert service.server.exit_code == 0


def test_the_listener_stays_open_for_the_delay_without_any_work(weights: Path) -> None:
    with live(settings_for(weights, drain_delay_seconds=1)) as service:
        began = time.monotonic()
        service.server.handle_exit(signal.SIGTERM, None)
        assert service.client.get("/readyz").status_code == 503
        service.thread.join(PATIENCE)
        assert time.monotonic() - began >= 1
        assert service.server.exit_code == 0


def test_a_second_signal_ends_at_once(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service, ThreadPoolExecutor(1) as clients:
        cut_off = clients.submit(service.denoise, png(32, 32))
        gate.wait()
        service.server.handle_exit(signal.SIGTERM, None)
        service.server.handle_exit(signal.SIGTERM, None)
        wait_for(lambda: service.server.exit_code == EXIT_FORCED)
        assert problem_or_cut(cut_off)
        gate.open(10)


def problem_or_cut(cut_off: "Future[httpx2.Response]") -> bool:
    """Whether a request got the answer of one that a shutdown ended, or at least no other."""
    if cut_off.exception(PATIENCE):
        return True
    return bool(cut_off.result().json()["type"] == "urn:n3denoise:error:draining")


def test_the_grace_period_ends(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights, grace_seconds=0.2), scripted(weights, gate)) as service, ThreadPoolExecutor(1) as clients:
        cut_off = clients.submit(service.denoise, png(32, 32))
        gate.wait()
        service.server.handle_exit(signal.SIGTERM, None)
        wait_for(lambda: service.server.exit_code == EXIT_FORCED)
        assert problem_or_cut(cut_off)
        gate.open(10)


def test_a_client_that_hangs_up_gives_its_place_back(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        body = png(160, 32)
        with connect(service) as connection:
            connection.sendall(b"POST /v1/denoise?sigma=5 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            gate.wait()
        wait_for(lambda: not service.engine.busy)
        gate.open()
        wait_for(lambda: service.metric("denoise_jobs_total", model="n3unet", outcome="cancelled") == 1)
        assert service.denoise(png(16, 40)).status_code == 200
        assert gate.strips == [160]


def test_a_connection_without_a_request_is_cut_off(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.server._protocol_class, "header_seconds", 0.05)
    with connect(service) as connection:
        assert read_all(connection) == b""


def test_headers_that_dribble_in_are_cut_off(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(service) as later:
        later.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in later.recv(4096)
        monkeypatch.setattr(service.server._protocol_class, "header_seconds", 0.05)
        later.sendall(b"GET /livez HTT")
        assert b"200 OK" not in read_all(later)
    with connect(service) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        assert read_all(connection) == b""


@pytest.mark.parametrize("limit", ["body_timeout_seconds", "timeout_seconds"])
@pytest.mark.parametrize(("path", "code"), [("/v1/denoise?sigma=5", "slow-request"), ("/nowhere", "not-found")])
def test_a_body_that_dribbles_in_is_cut_off_before_and_after_its_answer(weights: Path, path: str, code: str, limit: str) -> None:
    with live(settings_for(weights, **{limit: 0.2})) as service, connect(service) as connection:
        connection.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" % path.encode())
        answer = connection.recv(65536)
        with contextlib.suppress(OSError):  # it may be cut off already
            connection.sendall(b"a")  # which ends the clock of an idle connection
        assert problem_in(answer + read_all(connection))["type"] == f"urn:n3denoise:error:{code}"


def test_a_connection_goes_on_after_a_body_that_was_refused(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.server._protocol_class, "header_seconds", 0.05)
    with connect(service) as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
        assert connection.recv(65536).startswith(b"HTTP/1.1 404")
        connection.sendall(b"56789GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
        assert connection.recv(65536).startswith(b"HTTP/1.1 404")
        connection.sendall(b"56789GET")  # and the headers have their own time again
        assert read_all(connection) == b""


def test_a_refused_body_that_is_not_http_ends_the_connection(service: Live, caplog: pytest.LogCaptureFixture) -> None:
    with connect(service) as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 404")
        connection.sendall(b"no length of a chunk\r\n")
        assert read_all(connection) == b""
    assert "Fatal error" not in caplog.text


def test_a_client_that_asks_first_is_refused_before_it_sends(service: Live) -> None:
    with connect(service) as connection:
        connection.sendall(b"POST /v1/denoise HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_client_gone_amid_its_body_is_no_failure(service: Live) -> None:
    before = service.metric("denoise_jobs_total", model="n3unet", outcome="cancelled")
    with connect(service) as connection:
        connection.sendall(b"POST /v1/denoise?sigma=5 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    wait_for(lambda: service.metric("denoise_jobs_total", model="n3unet", outcome="cancelled") > before)
    assert service.metric("denoise_jobs_total", model="n3unet", outcome="internal") == 0


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"what is this\r\n\r\n", "bad-request"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 9000, "headers-too-large"),
        (b"GET /" + b"y" * 9000, "headers-too-large"),
    ],
)
def test_broken_protocol_is_answered_with_a_problem(service: Live, sent: bytes, code: str) -> None:
    before = service.metric("denoise_input_rejections_total", reason=code)
    with connect(service) as connection:
        connection.sendall(sent)
        answer = read_all(connection)
    document = problem_in(answer)
    assert document["type"] == f"urn:n3denoise:error:{code}"
    head = answer.decode().lower()
    assert f"x-request-id: {str(document['instance']).rsplit(':', 1)[1]}" in head
    assert "x-content-type-options: nosniff" in head
    assert "content-security-policy: default-src 'none'" in head
    labels = {"http_request_method": "_OTHER", "http_route": "unmatched"}
    assert service.metric("denoise_input_rejections_total", reason=code) == before + 1
    assert service.metric(
        "http_server_request_duration_seconds_count", http_response_status_code=str(document["status"]), **labels
    )


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_a_client_that_does_not_read_its_answer_is_cut_off(weights: Path, more: str) -> None:
    with live(settings_for(weights), scripted(weights, lambda _: None)) as service:
        service.server.config.timeout_keep_alive = 0.05  # type: ignore[assignment]
        body = png(2000, 2000)
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(PATIENCE)
            connection.connect(("127.0.0.1", service.port))
            head = f"POST /v1/denoise?sigma=5&format=bmp HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body + (b"" if more else b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))
            wait_for(lambda: service.metric("denoise_jobs_total", model="n3unet", outcome="ok") == 1)
            wait_for(lambda: not service.server.server_state.connections)


def test_idle_connections_are_closed(weights: Path) -> None:
    with live(settings_for(weights)) as service:
        service.server.config.timeout_keep_alive = 0.05  # type: ignore[assignment]
        with connect(service) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in read_all(connection)


def test_as_process_1_it_ends_with_0_on_sigterm(weights: Path) -> None:
    """In a process namespace of its own, where a signal without a handler is ignored."""
    unshare = shutil.which("unshare")
    assert unshare
    command = [unshare, "--user", "--map-root-user", "--pid", "--fork", sys.executable, "-m", "service", "serve", "--port", "0"]
    changes = {"WEIGHTS": str(weights), "DEVICE": "cpu", "DRAIN_DELAY_SECONDS": "0"}
    environment = os.environ | {f"N3DENOISE_{name}": value for name, value in changes.items()}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as outside:
        assert outside.stderr
        port = next(line.rsplit(":", 1)[1].split()[0] for line in outside.stderr if "running on" in line)
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=PATIENCE)
        connection.request("GET", "/livez")
        assert connection.getresponse().status == 200
        connection.close()
        (inside,) = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
        os.kill(int(inside), signal.SIGTERM)
        outside.stderr.read()
        assert outside.wait(PATIENCE) == 0


def test_the_compute_thread_ends_with_a_server_that_is_forced_to_end(weights: Path) -> None:
    before = set(threading.enumerate())
    with live(settings_for(weights)) as service:
        assert service.denoise().status_code == 200
    wait_for(lambda: not [each for each in set(threading.enumerate()) - before if each.name == "compute"])
