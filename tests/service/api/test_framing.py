"""Requests that are refused as soon as their framing says enough, and forms of requests that servers must accept."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live import PATIENCE, Live, live, png, settings_for
from tests.support.raw_http import exchange, first_line, post

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST /v1/noise HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights, max_body_mib=0.25, max_header_kib=4)) as running:
        yield running


def status_of(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_a_declared_length_over_the_limit_is_refused_before_the_body(service: Live, more: bytes) -> None:
    head = b"POST /v1/denoise HTTP/1.1\r\nHost: x\r\n%sContent-Length: 99999999\r\n\r\n" % more
    assert first_line(service, head).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "body",
    [
        b"f" * 20 + b"\r\n",
        b"0" * 9 + b"1" + b"0" * 8 + b"\r\n",
        b"5\nhello\n0\n\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\n\n",
        b"5\r\nhello\r\n0\r\n\n",
        b"5\r\nhello\r\n0\r\nA: b\n\n",
        b"5;a=b\n\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
        b"5;" + b"a" * 300,
    ],
)
def test_invalid_chunks_are_refused_at_once(service: Live, body: bytes) -> None:
    head, rest = exchange(service, CHUNKED + body)
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(rest)["type"] == "urn:n3denoise:error:bad-request"


@pytest.mark.parametrize("body", [b"5\r\nhello\r\n0\r\n\r\n", b"005;a=b\r\nhello\r\n0;c\r\nA: b\r\nC: d\r\n\r\n"])
def test_valid_chunks_and_trailers_are_read(service: Live, body: bytes) -> None:
    head, rest = exchange(service, CHUNKED + body + LIVEZ)
    assert status_of(head) == 415, "the body is no image"
    assert b"HTTP/1.1 200 " in rest


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET http://elsewhere.example/livez HTTP/1.1", 200),
        (b"GET HTTPS://user@[::1]:8000/livez?a=b HTTP/1.1", 200),
        (b"GET http://x HTTP/1.1", 200),
        (b"HEAD http://x?a HTTP/1.0", 200),
        (b"GET http://x/nowhere HTTP/1.1", 404),
        (b"GET http:///livez HTTP/1.1", 404),
        (b"GET livez HTTP/1.1", 404),
        (b"OPTIONS http://x/v1/denoise HTTP/1.1", 405),
    ],
)
def test_a_target_may_be_a_whole_url(service: Live, request_line: bytes, status: int) -> None:
    head, _ = exchange(service, request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status_of(head) == status


def test_a_picture_may_be_posted_to_a_whole_url(service: Live) -> None:
    assert status_of(exchange(service, post(png(), b"Connection: close").replace(b"/v1", b"http://x/v1", 1))[0]) == 200


def test_the_options_of_the_server_are_told(service: Live) -> None:
    head, body = exchange(service, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (status_of(head), body) == (204, b"")
    assert b"\r\nallow: delete, get, head, options, post, put\r\n" in head.lower()


@pytest.mark.parametrize(("path", "allowed"), [("/livez", "GET, HEAD"), ("/docs", "GET, HEAD"), ("/v1/denoise", "POST")])
def test_the_methods_of_a_route_are_told(service: Live, path: str, allowed: str) -> None:
    answer = service.client.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "sent",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n" + LIVEZ,
        b"GET /livez HTTP/0.9\r\n\r\n" + LIVEZ,
    ],
)
def test_other_versions_of_http_are_refused_once(service: Live, sent: bytes) -> None:
    head, body = exchange(service, sent)
    assert status_of(head) == 400
    assert "HTTP/1.1" in json.loads(body)["detail"], "one response, which is all that comes"


@pytest.mark.parametrize(
    "following",
    [b"GET /livez HTTP/1.1\nHost: x\n\n", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 5000 + b"\r\n\r\n"],
    ids=["bare line feeds", "long headers"],
)
def test_a_request_after_a_body_that_was_refused_is_checked_too(service: Live, following: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection, connection.makefile("rb") as file:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
        assert status_of(file.readline()) == 404
        connection.sendall(b"56789" + following + LIVEZ)
        rest = file.read()
    assert re.findall(rb"HTTP/1.1 (\d+)", rest) in ([b"400"], [b"431"])


@pytest.mark.parametrize("following", [LIVEZ, b"\r\n" + LIVEZ])
def test_an_empty_line_may_come_before_a_request(service: Live, following: bytes) -> None:
    head, rest = exchange(service, b"\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + following)
    assert status_of(head) == 200
    assert rest.count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize("header", [b"Transfer-Encoding:\r\n chunked", b"X: a\r\n\tb", b"X: a\r\n "])
def test_folded_header_lines_are_refused(service: Live, header: bytes) -> None:
    head, body = exchange(service, b"POST /v1/noise HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n0\r\n\r\n")
    assert status_of(head) == 400
    assert "folded" in json.loads(body)["detail"]


@pytest.mark.parametrize("expected", [b"200-foo", b"100-continue, 200-foo", b""])
def test_other_expectations_than_100_continue_fail(service: Live, expected: bytes) -> None:
    head, body = exchange(service, post(png(), b"Expect: " + expected))
    assert status_of(head) == 417
    assert json.loads(body)["type"] == "urn:n3denoise:error:expectation-failed"


@pytest.mark.parametrize("expected", [b"100-continue", b"100-Continue"])
def test_100_continue_is_met(service: Live, expected: bytes) -> None:
    assert status_of(exchange(service, post(png(), b"Connection: close", b"Expect: " + expected))[0]) == 200


@pytest.mark.parametrize("parameters", ["", "; boundary=", '; boundary=""'])
def test_a_form_needs_a_boundary(service: Live, parameters: str) -> None:
    content = b'--\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + png() + b"\r\n----\r\n"
    answer = service.client.post("/v1/noise", content=content, headers={"content-type": "multipart/form-data" + parameters})
    assert (answer.status_code, answer.json()["detail"]) == (400, "The Content-Type of a form needs a boundary.")


@pytest.mark.parametrize(
    "host", [b"a b", b"x/y", b"user@x", b"x:80:80", b"x:http", b"[::1", b"::1", b"x\\y", b'"x"', b"\xc3\xa9"]
)
def test_a_malformed_host_is_refused(service: Live, host: bytes) -> None:
    head, body = exchange(service, b"GET /livez HTTP/1.1\r\nHost: %s\r\n\r\n" % host + LIVEZ)
    assert status_of(head) == 400
    assert json.loads(body)["detail"] == "The Host header is malformed.", "one response, which is all that comes"


@pytest.mark.parametrize("host", [b"", b"x", b"x:80", b"x:", b"127.0.0.1:8000", b"[::1]:80", b"a-b_c.example.", b"%C3%A9"])
def test_a_host_is_a_name_or_an_address(service: Live, host: bytes) -> None:
    head, _ = exchange(service, b"GET /livez HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host)
    assert status_of(head) == 200
