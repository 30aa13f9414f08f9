"""HTTP/1.1 connections with a deadline for everything a client does, and problem details for broken requests."""

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.api.context import AppContext
from service.api.error_responses import response_to
from service.api.framing import StrictBuffer, has_valid_host, head_error, in_origin_form
from service.api.middleware import common_headers, record_response
from service.errors import BadRequest, ServiceError
from service.telemetry.request_record import open_record

HALF_CLOSED_PROBE_SECONDS = 0.25
FREE_CHUNKS = 2000
SMALLEST_MEAN_CHUNK = 64
"""A body may have `FREE_CHUNKS` chunks and one more for this many bytes; each chunk costs some microseconds."""


class TimedH11Protocol(H11Protocol):
    """An HTTP/1.1 connection with deadlines and strict framing; a subclass sets the class attributes.

    Attributes:
        header_seconds: Time in which the headers of a request must arrive.
        body_seconds: Time in which the rest of a body must arrive after the response was sent.
        context: Where broken requests and bytes of unread responses are counted.
    """

    header_seconds = 10.0
    body_seconds = 60.0
    context: AppContext
    _clock: asyncio.TimerHandle | None = None
    _reader_clock: asyncio.TimerHandle | None = None
    _probe_clock: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._chunks = self._chunk_bytes = 0
        self._half_closed = False
        self._unread_bytes = 0
        self._refusal: ServiceError = BadRequest("That is not valid HTTP.")
        self._received = self.conn._receive_buffer = StrictBuffer()  # noqa: SLF001 (h11 has no public way to be strict)
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
        self._count_unread(0)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Count what the client has not read yet, which stays in memory until it does."""
        super().pause_writing()
        self._count_unread(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Forget what was counted, because the client has read it."""
        super().resume_writing()
        self._count_unread(0)

    def _count_unread(self, count: int) -> None:
        self.context.unread_bytes += count - self._unread_bytes
        self._unread_bytes = count

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection of a client that sent its whole request and then closed its sending side.

        A client that closed the connection altogether looks the same until something is sent to it. HTTP/1.0 has no informational
        responses, so such a client is noticed only when its response is sent.

        Returns:
            Whether to keep the connection open for writing.
        """
        if not self._awaits_response:
            return False
        self._half_closed = True
        if (self.conn.their_http_version or b"") >= b"1.1":
            self._probe_half_closed()
        return True

    @property
    def _awaits_response(self) -> bool:
        """Whether the client has sent a whole request and not yet got the whole response."""
        sent_all = self.conn.their_state in (h11.DONE, h11.MUST_CLOSE)
        return sent_all and self.conn.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY)

    def _probe_half_closed(self) -> None:
        """Send informational responses until the response begins: they fail if the client has closed the connection."""
        if self.transport.is_closing():
            return
        if self.conn.our_state is h11.SEND_RESPONSE:
            probe = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
            self.transport.write(self.conn.send(probe) or b"")
        self._probe_clock = self.loop.call_later(HALF_CLOSED_PROBE_SECONDS, self._probe_half_closed)

    def _next_event(self) -> Any:
        """Return the next event of the connection; refuse heads that h11 would accept, and bodies in a great many tiny chunks.

        Raises:
            h11.RemoteProtocolError: If the head is refused, the chunks are too small, or the client breaks HTTP otherwise.
        """
        if self.conn.their_state is h11.IDLE:
            error = head_error(self._received.head(), self.config.h11_max_incomplete_event_size or 0)
            if error:
                self._refusal = error
                raise h11.RemoteProtocolError(error.detail)
        event = self._parse_event()
        if isinstance(event, h11.Request):
            if not has_valid_host(event):
                self._refusal = BadRequest("The Host header is malformed.")
                raise h11.RemoteProtocolError(self._refusal.detail)
            self._chunks = self._chunk_bytes = 0
            return in_origin_form(event)
        if isinstance(event, h11.Data):
            self._chunks += 1
            self._chunk_bytes += len(event.data)
            if self._chunks > FREE_CHUNKS + self._chunk_bytes / SMALLEST_MEAN_CHUNK:
                raise h11.RemoteProtocolError("the chunks of the body are too small")
        return event

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
        if self._half_closed and not self._awaits_response:  # the client can send nothing more
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
        """Answer a request that is not valid HTTP or whose headers are too long, and close the connection."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # this is the rest of a body that was answered
            self.transport.close()
            return
        error, record = self._refusal, open_record(None)
        response = response_to(error)
        response.headers.update(common_headers(record, path="") | {"cache-control": "no-store", "connection": "close"})
        reason = HTTPStatus(error.status).phrase.encode()
        head = h11.Response(status_code=error.status, headers=response.raw_headers, reason=reason)
        for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        record_response(self.context.metrics, record, method="", route="unmatched", status=error.status)
