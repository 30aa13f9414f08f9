"""HTTP as strangers speak it: odd framing, HEAD, and the Accept header."""

import contextlib
import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.api.h11_protocol import FREE_CHUNKS, SMALLEST_MEAN_CHUNK
from tests.support.live import PATIENCE, Live, live, png, settings_for, wait_for
from tests.support.raw_http import exchange

HEADER_KIB = 4


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights, max_header_kib=HEADER_KIB)) as running:
        yield running


@pytest.mark.parametrize("spread", [False, True], ids=["at once", "in pieces"])
def test_the_header_limit_binds_however_the_headers_arrive(service: Live, spread: bool) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: " + b"a" * (HEADER_KIB * 1024) + b"\r\n\r\n"
    if spread:
        request = request[:-4]  # the end never comes
    head, body = exchange(service, request)
    assert b" 431 " in head.partition(b"\r\n")[0]
    assert json.loads(body)["type"] == "urn:n3denoise:error:headers-too-large"


def test_headers_just_below_the_limit_pass(service: Live) -> None:
    start = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: "
    head, _ = exchange(service, start + b"a" * (HEADER_KIB * 1024 - len(start)) + b"\r\n\r\n")
    assert b" 200 " in head.partition(b"\r\n")[0]


def test_the_limit_holds_for_a_second_request_on_a_connection(service: Live) -> None:
    first = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    second = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * (HEADER_KIB * 1024) + b"\r\n\r\n"
    head, rest = exchange(service, first + second)
    assert b" 200 " in head.partition(b"\r\n")[0]
    assert b"HTTP/1.1 431 " in rest


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /livez HTTP/1.1\nHost: x\n\n",
        b"GET /livez HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\n",
    ],
)
def test_lines_that_end_with_a_bare_line_feed_are_refused(service: Live, request_head: bytes) -> None:
    head, body = exchange(service, request_head)
    assert b" 400 " in head.partition(b"\r\n")[0]
    assert "CRLF" in json.loads(body)["detail"]


def test_a_request_with_two_framings_is_refused_and_the_connection_closed(service: Live) -> None:
    chunked = b"POST /v1/denoise HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    head, body = exchange(service, chunked + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 400 " in head.partition(b"\r\n")[0]
    assert b"connection: close" in head.lower()
    assert b"HTTP/1.1" not in body, "the second request, which may be a smuggled one, has no response"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/v1/info", "/v1/models", "/", "/openapi.json", "/docs"])
def test_head_is_get_without_a_body(service: Live, path: str) -> None:
    whole, head = service.client.get(path), service.client.head(path)
    assert head.status_code == whole.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == whole.headers["content-type"]
    if path != "/metrics":  # it grows
        assert head.headers["content-length"] == str(len(whole.content))
    labels = {"http_request_method": "HEAD", "http_route": path, "http_response_status_code": "200"}
    wait_for(lambda: service.metric("http_server_request_duration_seconds_count", **labels))


def test_head_of_what_takes_posts_only(service: Live) -> None:
    assert service.client.head("/v1/denoise").status_code == 405


def test_no_redirect_repeats_the_host(service: Live) -> None:
    answer = service.client.get("/v1/info/", headers={"host": "elsewhere.example"})
    assert answer.status_code == 404
    assert "elsewhere" not in str(answer.headers) + answer.text


def test_a_compressed_body_is_refused(service: Live) -> None:
    answer = service.client.post("/v1/denoise", content=gzip.compress(png()), headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["type"]) == (415, "urn:n3denoise:error:unsupported-encoding")
    twice = [("content-encoding", "identity"), ("content-encoding", "gzip")]
    assert service.client.post("/v1/denoise", content=gzip.compress(png()), headers=twice).status_code == 415
    assert service.client.post("/v1/denoise?sigma=25", content=png(), headers={"content-encoding": "identity"}).status_code == 200


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/png"),
        ("", "image/png"),
        ("image/*", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("image/jpeg, image/webp;q=0.9", "image/jpeg"),
        ("image/jpeg;q=0.5, image/webp;q=0.9", "image/webp"),
        ("image/avif,image/webp,image/*,*/*;q=0.8", "image/png"),
        ("image/png;q=0.1, image/*", "image/jpeg"),
        ("text/html, */*;q=0.1", "image/png"),
        ("image/*;q=0, */*", "application/json"),
        ("image/tiff, application/json;q=0.5", "image/tiff"),
        ("application/json", "application/json"),
        ("image/gif, application/json;q=0.5", "application/json"),
    ],
)
def test_the_accept_header_chooses_the_format(service: Live, accept: str, media_type: str) -> None:
    answer = service.client.post("/v1/denoise?sigma=25", content=png(), headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/v1/denoise", "image/gif"),
        ("/v1/denoise", "text/html"),
        ("/v1/denoise?format=png", "image/jpeg"),
        ("/v1/denoise", "image/png;q=0"),
        ("/v1/evaluate", "image/jpeg"),
    ],
)
def test_what_is_not_acceptable_is_refused(service: Live, path: str, accept: str) -> None:
    answer = service.client.post(path, content=png(), headers={"accept": accept})
    assert (answer.status_code, answer.json()["type"]) == (406, "urn:n3denoise:error:not-acceptable")


def test_the_format_option_wins_where_the_accept_header_allows_it(service: Live) -> None:
    answer = service.client.post(
        "/v1/denoise?sigma=25&format=tiff", content=png(), headers={"accept": "image/jpeg, image/*;q=0.1"}
    )
    assert answer.headers["content-type"] == "image/tiff"


def chunked(size: int, count: int) -> bytes:
    chunk = b"%x\r\n%s\r\n" % (size, b"a" * size)
    return b"POST /v1/noise HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * count + b"0\r\n\r\n"


def test_a_body_in_a_great_many_tiny_chunks_is_refused(service: Live) -> None:
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
        request = chunked(1, 4 * FREE_CHUNKS)
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                received += part
    assert not received or b" 400 " in received.partition(b"\r\n")[0]
    assert service.client.get("/livez").status_code == 200


def test_a_body_in_chunks_of_a_sensible_size_is_read(service: Live) -> None:
    sent = chunked(SMALLEST_MEAN_CHUNK, 2 * FREE_CHUNKS).replace(b"Host: x", b"Host: x\r\nConnection: close")
    head, body = exchange(service, sent)
    assert b" 415 " in head.partition(b"\r\n")[0], "the body is no image, but it is read"
    assert json.loads(body)["type"] == "urn:n3denoise:error:unsupported-format"
