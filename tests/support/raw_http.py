"""HTTP byte by byte, for requests that no client library would send."""

import socket

from tests.support.live import PATIENCE, Live


def exchange(service: Live, sent: bytes, *, half_close: bool = False) -> tuple[bytes, bytes]:
    """Send bytes; return the head and the body of everything that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
        connection.sendall(sent)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
    while received.startswith(b"HTTP/1.1 100 "):
        received = received.partition(b"\r\n\r\n")[2]
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


def first_line(service: Live, sent: bytes) -> bytes:
    """Send bytes, and return the first line of the response without waiting for the rest."""
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
        connection.sendall(sent)
        with connection.makefile("rb") as file:
            return file.readline().rstrip()


def post(body: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    """Return a request to denoise a picture."""
    lines = (b"POST /v1/denoise?sigma=25 HTTP/" + version, b"Host: x", *headers, b"Content-Length: %d" % len(body), b"", body)
    return b"\r\n".join(lines)
