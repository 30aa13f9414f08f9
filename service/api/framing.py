"""HTTP/1.1 framing that is stricter than that of h11, which accepts what other programs on the way may read in another way."""

import re

import h11
from h11._receivebuffer import ReceiveBuffer

from service.errors import BadRequest, HeadersTooLarge, ServiceError

_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_BARE_CARRIAGE_RETURN = re.compile(rb"\r(?!\n|\Z)")
_LONGEST_CHUNK_LINE = 256  # bytes; clients send a dozen, because nobody uses chunk extensions
_FOLDED_LINE = re.compile(rb"\r\n[ \t]")
_OTHER_VERSION = re.compile(rb"[^\r\n]* HTTP/(?!1\.)[0-9]\.[0-9](?:\r|$)")
_HUGE_CHUNK = re.compile(rb"0*[0-9A-Fa-f]{9}")  # 4 GiB or more
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_SCHEME_AND_HOST = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)


class StrictBuffer(ReceiveBuffer):
    """The bytes that h11 has received and not yet parsed. Chunk lines and trailers must end with CRLF, and chunks be below 4 GiB.

    h11 turns the errors that it raises into `h11.RemoteProtocolError`.
    """

    def head(self) -> bytes:
        """Return the request line and the headers, without the empty line at the end, as far as they have arrived.

        An empty line before them is dropped: some clients send one after a body (RFC 9112, section 2.2).
        """
        if self._data.startswith(b"\r\n"):
            self._extract(2)
        end = self._data.find(b"\r\n\r\n")
        return bytes(self._data if end < 0 else self._data[:end])

    def maybe_extract_next_line(self) -> bytearray | None:
        """Extract a chunk line if it has arrived."""
        line = super().maybe_extract_next_line()
        text = self._data if line is None else line
        broken = _BARE_LINE_FEED.search(text) or _BARE_CARRIAGE_RETURN.search(text) or _HUGE_CHUNK.match(text)
        if broken or len(text) > _LONGEST_CHUNK_LINE:
            raise h11.LocalProtocolError("invalid chunk line")
        return line

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Extract the head of a request, or trailers, if they have arrived."""
        before = bytes(self._data)
        lines = super().maybe_extract_lines()
        taken = before if lines is None else before[: len(before) - len(self._data)]
        if _BARE_LINE_FEED.search(taken):
            raise h11.LocalProtocolError("a line ends with a bare line feed")
        return lines


def head_error(head: bytes, limit: int) -> ServiceError | None:
    """Return what is wrong with the request line and the headers as far as they have arrived, or None.

    Args:
        head: The request line and the headers.
        limit: Their maximum size in bytes; h11 applies its own only to headers that arrive in pieces.
    """
    if len(head) > limit:
        return HeadersTooLarge(f"The limit is {limit} bytes.", limit_bytes=limit)
    if _BARE_LINE_FEED.search(head):
        return BadRequest("Lines of the request must end with CRLF.")
    if _FOLDED_LINE.search(head):
        return BadRequest("Header lines must not be folded.")
    if _OTHER_VERSION.match(head):
        return BadRequest("The service supports HTTP/1.1 and HTTP/1.0 only.")
    return None


def has_valid_host(request: h11.Request) -> bool:
    """Tell whether the `Host` header of a request, if it has one, is a name or an address with or without a port (RFC 3986)."""
    return all(_HOST.fullmatch(value) for name, value in request.headers if name == b"host")


def in_origin_form(request: h11.Request) -> h11.Request:
    """Return a request whose target is a path, even if the client sent a whole URL, as it would to a proxy (RFC 9112, 3.2.2)."""
    url = _SCHEME_AND_HOST.match(request.target)
    if url is None:
        return request
    target = request.target[url.end() :]
    target = target if target.startswith(b"/") else b"/" + target
    return h11.Request(method=request.method, target=target, headers=request.headers, http_version=request.http_version)
