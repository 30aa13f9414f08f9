"""Clients that close their sending side after a request, close the connection, or do not read their response."""

import io
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.support.faulty import Gate, scripted
from tests.support.live import PATIENCE, Live, live, png, settings_for, wait_for
from tests.support.raw_http import exchange, post


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


@pytest.mark.parametrize(
    "request_bytes",
    [post(png()), post(png(), b"Connection: close"), post(png(), version=b"1.0")],
    ids=["1.1", "1.1 and close", "1.0"],
)
def test_a_client_that_half_closes_gets_its_response(service: Live, request_bytes: bytes) -> None:
    head, body = exchange(service, request_bytes, half_close=True)
    assert b" 200 " in head.partition(b"\r\n")[0]
    assert Image.open(io.BytesIO(body)).format == "PNG"


def test_a_client_that_half_closes_after_several_requests_gets_all_responses(service: Live) -> None:
    head, rest = exchange(service, post(png()) + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 2, half_close=True)
    assert b" 200 " in head.partition(b"\r\n")[0]
    assert rest.count(b"HTTP/1.1 200 ") == 2


def test_a_request_that_a_half_closed_client_left_incomplete_ends_the_connection(service: Live) -> None:
    assert exchange(service, b"GET /livez HTTP/1.1\r\nHost:", half_close=True) == (b"", b"")
    assert exchange(service, post(png())[:-1], half_close=True) == (b"", b"")
    head, rest = exchange(service, post(png()) + b"GET /livez HTTP/1.1\r\n", half_close=True)
    assert b" 200 " in head.partition(b"\r\n")[0]
    assert b"HTTP/1.1" not in rest


def test_a_client_that_closes_is_still_noticed(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        connection = socket.create_connection(("127.0.0.1", service.port), PATIENCE)
        connection.sendall(post(png(32, 32)))
        gate.wait()
        connection.close()
        wait_for(lambda: service.metric("denoise_jobs_total", model="n3unet", outcome="cancelled") == 1)
        gate.open(2)
        wait_for(lambda: not service.engine.busy)


def test_a_half_closed_client_waits_through_the_queue(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service, ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(exchange, service, post(png(32, 32)), half_close=True)
        gate.wait()
        wait_for(lambda: service.engine.busy)
        gate.open(2)
        head, _ = waiting.result(PATIENCE)
        assert b" 200 " in head.partition(b"\r\n")[0]


def test_what_comes_before_the_response_is_a_proper_informational_response(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
            connection.sendall(post(png(32, 32)))
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as file:
                assert file.readline() == b"HTTP/1.1 100 Continue\r\n"
        gate.open(2)


def test_an_http_1_0_client_gets_no_informational_response(weights: Path) -> None:
    gate = Gate()
    with (
        live(settings_for(weights), scripted(weights, gate)) as service,
        socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection,
    ):
        connection.sendall(post(png(32, 32), version=b"1.0"))
        connection.shutdown(socket.SHUT_WR)
        gate.wait()
        gate.open(2)
        with connection.makefile("rb") as file:
            assert file.readline() == b"HTTP/1.1 200 OK\r\n"


def test_responses_that_are_not_read_count_as_bytes_held(weights: Path) -> None:
    settings = settings_for(weights, max_uploads_mib=9, keep_alive_seconds=PATIENCE)
    with live(settings, scripted(weights, lambda _: None)) as service:
        body = png(4000, 2000)
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", service.port))
            connection.sendall(post(body).replace(b"sigma=25", b"sigma=25&format=bmp&depth=8&strength=0"))
            wait_for(lambda: service.server.context.unread_bytes > 0)
            refused = service.denoise(body)
            assert (refused.status_code, refused.json()["type"]) == (429, "urn:n3denoise:error:uploads-full")
        wait_for(lambda: service.server.context.unread_bytes == 0)
        assert service.denoise(body).status_code == 200
