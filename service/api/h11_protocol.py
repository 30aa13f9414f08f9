"""HTTP/1.1 connections with a deadline for everything a client does, and problem details for broken requests."""

import asyncio
import re
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.api.error_responses import response_to
from service.api.middleware import common_headers, record_response
from service.errors import BadRequest, HeadersTooLarge, ServiceError
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import open_record

HALF_CLOSED_PROBE_SECONDS = 0.25
FREE_CHUNKS = 2000
SMALLEST_MEAN_CHUNK = 64
"""A body may have `FREE_CHUNKS` chunks and one more for this many bytes; each chunk costs some microseconds."""
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")


class TimedH11Protocol(H11Protocol):
    """An HTTP/1.1 connection with deadlines and strict framing; a subclass sets the class attributes.

    Attributes:
        header_seconds: Time in which the headers of a request must arrive.
        body_seconds: Time in which the rest of a body must arrive after the response was sent.
        metrics: Where broken requests are counted.
    """

    header_seconds = 10.0
    body_seconds = 60.0
    metrics: Metrics
    _clock: asyncio.TimerHandle | None = None
    _reader_clock: asyncio.TimerHandle | None = None
    _probe_clock: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._chunks = self._chunk_bytes = 0
        self._parse_event, self.conn.next_event = self.conn.next_event, self._next_event  # type: ignore[method-assign]
        self.access_log = False  # uvicorn's log would contain paths; ours contains routes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request's headers."""
        super().connection_made(transport)
        self._start_clock(self.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._stop_clock()
        for clock in (self._reader_clock, self._probe_clock):
            if clock is not None:
                clock.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection of a client that sent its whole request and then closed its sending side.

        A client that closed the connection altogether looks the same until something is sent to it.

        Returns:
            Whether to keep the connection open for writing.
        """
        answerable = self.conn.their_state is h11.DONE and self.conn.our_state is h11.SEND_RESPONSE
        if not answerable or self.conn.their_http_version != b"1.1":  # HTTP/1.0 has no informational responses
            return False
        self._probe_half_closed()
        return True

    def _probe_half_closed(self) -> None:
        """Send informational responses until the response begins: they fail if the client has closed the connection."""
        if self.transport.is_closing():
            return
        if self.conn.our_state is h11.SEND_RESPONSE:
            self.transport.write(self.conn.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        self._probe_clock = self.loop.call_later(HALF_CLOSED_PROBE_SECONDS, self._probe_half_closed)

    def _next_event(self) -> Any:
        """Return the next event of the connection, and refuse bodies in a great many tiny chunks.

        Raises:
            h11.RemoteProtocolError: If the chunks are too small, or the client breaks HTTP otherwise.
        """
        event = self._parse_event()
        if isinstance(event, h11.Request):
            self._chunks = self._chunk_bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += 1
            self._chunk_bytes += len(event.data)
            if self._chunks > FREE_CHUNKS + self._chunk_bytes / SMALLEST_MEAN_CHUNK:
                raise h11.RemoteProtocolError("the chunks of the body are too small")
        return event

    def handle_events(self) -> None:
        """Check the headers of the next request before h11 parses them, because h11 is too lenient."""
        if self.conn.their_state is h11.IDLE and (error := self._head_error()):
            self._refuse(error)
        else:
            super().handle_events()

    def _head_error(self) -> ServiceError | None:
        """Return what is wrong with the request line and the headers that have arrived, or None."""
        buffered, _ = self.conn.trailing_data
        head, _, _ = buffered.partition(b"\r\n\r\n")
        limit = self.config.h11_max_incomplete_event_size or 0
        if len(head) > limit:  # h11 applies its limit only to headers that arrive in pieces
            return HeadersTooLarge(f"The limit is {limit} bytes.", limit_bytes=limit)
        if _BARE_LINE_FEED.search(head):
            return BadRequest("Lines of the request must end with CRLF.")
        return None

    def data_received(self, data: bytes) -> None:
        """Run the clock while the headers of a request are incomplete; keep the clock of a body that was answered early."""
        was_answered = self._answered_early
        super().data_received(data)
        if self._answered_early and was_answered:
            return
        if self.conn.their_state is not h11.IDLE or was_answered:
            self._stop_clock()
        if self.conn.their_state is h11.IDLE and self._clock is None and not self.transport.is_closing():
            self._start_clock(self.header_seconds)

    def on_response_complete(self) -> None:
        """Start the clocks for the rest of a request that was answered before its body arrived, and for reading the response."""
        super().on_response_complete()
        if self._probe_clock is not None:  # the client can send nothing more
            self.transport.close()
        if self._answered_early and not self.transport.is_closing():
            self._start_clock(self.body_seconds)
        if self._reader_clock is None:
            self._watch_reader()

    @property
    def _answered_early(self) -> bool:
        """Whether the response is sent while the body still arrives; each byte of the body stops uvicorn's own clock."""
        return self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE

    def _start_clock(self, seconds: float) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(seconds, self._cut_off)

    def _cut_off(self) -> None:
        if not self.transport.is_closing():  # otherwise a client may still be reading its response
            self.transport.abort()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _watch_reader(self, before: int = 0) -> None:
        """Cut off a client that reads nothing of its response during the keep-alive time, because closing would wait for it."""
        unread = self.transport.get_write_buffer_size()
        self._reader_clock = None
        if unread and unread == before:
            self.transport.abort()
        elif unread:
            self._reader_clock = self.loop.call_later(self.timeout_keep_alive, self._watch_reader, unread)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; a connection whose client still reads its response is not idle."""
        if self._reader_clock is None:
            super().timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (our error has a type of its own)
        """Answer a request that is not valid HTTP or whose headers are too long."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # this is the rest of a body that was answered
            self.transport.close()
            return
        self._refuse(BadRequest("That is not valid HTTP."))

    def _refuse(self, error: ServiceError) -> None:
        record = open_record(None)
        response = response_to(error)
        response.headers.update(common_headers(record, path="") | {"cache-control": "no-store", "connection": "close"})
        head = h11.Response(status_code=error.status, headers=response.raw_headers)
        for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        record_response(self.metrics, record, method="", route="unmatched", status=error.status)
