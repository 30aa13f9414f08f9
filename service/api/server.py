"""uvicorn, made to keep its listener open while draining, to answer protocol errors as problems, and to cut off the slow."""

import asyncio
import contextlib
import ipaddress
import math
import os
import socket
import time
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.api.app import create_app
from service.api.context import State
from service.api.error_responses import response_to
from service.api.middleware import count, headers_of_all
from service.engine.engine import Engine
from service.errors import BadRequest, HeadersTooLarge, ServiceError
from service.settings import Settings
from service.telemetry.logs import configure_logs, log
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import open_record

LAST_WORDS_SECONDS = 0.3
EXIT_FORCED = 1
EXIT_LOST = 3


class Protocol(H11Protocol):
    """HTTP/1.1 with deadlines for all that a client does, and problem details for broken requests."""

    header_seconds = 10.0
    body_seconds = 60.0
    metrics: Metrics
    _clock: asyncio.TimerHandle | None = None
    _reader_clock: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False  # ours has the routes, uvicorn's would have the paths

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request's headers."""
        super().connection_made(transport)
        self._start_clock(self.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._stop_clock()
        if self._reader_clock is not None:
            self._reader_clock.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Run the clock while a request's headers are incomplete; that of a body which was answered goes on."""
        was_answered = self._answered_early
        super().data_received(data)
        if self._answered_early and was_answered:
            return
        if self.conn.their_state is not h11.IDLE or was_answered:
            self._stop_clock()
        if self.conn.their_state is h11.IDLE and self._clock is None and not self.transport.is_closing():
            self._start_clock(self.header_seconds)

    def on_response_complete(self) -> None:
        """Start the clocks for what is left: of the request, when it was answered before it had come, and of the answer."""
        super().on_response_complete()
        if self._answered_early and not self.transport.is_closing():
            self._start_clock(self.body_seconds)
        if self._reader_clock is None:
            self._watch_reader()

    @property
    def _answered_early(self) -> bool:
        """Whether the answer is out and the body still comes, to be thrown away; each byte of it ends uvicorn's own clock."""
        return self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE

    def _start_clock(self, seconds: float) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(seconds, self._cut_off)

    def _cut_off(self) -> None:
        if not self.transport.is_closing():  # else an answer may still be being read
            self.transport.abort()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _watch_reader(self, before: int = 0) -> None:
        """Cut off a client that reads nothing of its answer for the keep-alive time, as closing would wait for it."""
        unread = self.transport.get_write_buffer_size()
        self._reader_clock = None
        if unread and unread == before:
            self.transport.abort()
        elif unread:
            self._reader_clock = self.loop.call_later(self.timeout_keep_alive, self._watch_reader, unread)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, which one that still reads its answer is not."""
        if self._reader_clock is None:
            super().timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002, the message would name no type
        """Answer what is not HTTP, or has too long headers."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # the rest of a body that was answered
            self.transport.close()
            return
        buffered, _ = self.conn.trailing_data
        limit = self.config.h11_max_incomplete_event_size or 0
        error: ServiceError = BadRequest("That is not valid HTTP.")
        if len(buffered) > limit:
            error = HeadersTooLarge(f"The limit is {limit} bytes.", limit_bytes=limit)
        record = open_record(None)
        response = response_to(error)
        response.headers.update(headers_of_all(record, path="") | {"cache-control": "no-store", "connection": "close"})
        head = h11.Response(status_code=error.status, headers=response.raw_headers)
        for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        count(self.metrics, record, method="", route="unmatched", status=error.status)


class Server(uvicorn.Server):
    """Drains on the first SIGTERM or SIGINT and ends at once on the second.

    Draining, readiness is off and new work gets 503, but the listener answers for `drain_delay_seconds`, so that the load
    balancer sees it, and until admitted work is done or `grace_seconds` have passed.

    Args:
        settings: Addresses and times.
        engine: What has to drain; made from the settings unless given.
    """

    def __init__(self, settings: Settings, engine: Engine | None = None) -> None:
        self.settings = settings
        self.engine = engine or Engine(settings, Metrics())
        self.exit_code = 0
        self._drain_began: float | None = None

        class TimedProtocol(Protocol):
            header_seconds = settings.header_timeout_seconds
            body_seconds = settings.body_seconds
            metrics = self.engine.metrics

        self._protocol_class = TimedProtocol
        self.app = create_app(settings, self.engine)
        self.state: State = self.app.state.shared
        config = uvicorn.Config(
            self.app,
            host=settings.host,
            port=settings.port,
            http=self._protocol_class,
            ws="none",
            h11_max_incomplete_event_size=settings.max_header_kib * 1024,
            timeout_keep_alive=settings.keep_alive_seconds,
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
        )
        super().__init__(config)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002, both signals mean the same
        """Begin to drain; stock uvicorn would close its sockets at once, and nobody could see readiness turn."""
        if self._drain_began is not None:
            self.should_exit = self.force_exit = True
            self.exit_code = EXIT_FORCED
            return
        self._drain_began = time.monotonic()
        self.engine.drain()

    async def on_tick(self, counter: int) -> bool:
        """Decide, ten times a second, whether to end."""
        if self.engine.lost and not self.engine.busy:
            log().error("ending, as the device is lost")
            self.exit_code = EXIT_LOST
            return True
        if self._drain_began is not None:
            drained = time.monotonic() - self._drain_began
            if drained >= self.settings.grace_seconds:
                self.exit_code = EXIT_FORCED
                return True
            if drained >= self.settings.drain_delay_seconds and not self.engine.busy:
                return True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener, and give answers that are being written what is left of the grace period."""
        await self._close_listeners()
        drained = time.monotonic() - (self._drain_began or time.monotonic())
        self.config.timeout_graceful_shutdown = max(1, math.ceil(self.settings.grace_seconds - drained))
        await super().shutdown(sockets)

    async def _close_listeners(self) -> None:
        """Tell who connected at the last moment that the service drains; uvicorn would cut such connections off."""
        loop = asyncio.get_running_loop()
        listeners = [socket.socket(fileno=os.dup(each.fileno())) for server in self.servers for each in server.sockets]
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.settimeout(0)
            waiting = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    waiting.append(listener.accept()[0])
            listener.close()
            for connection in waiting:
                await loop.connect_accepted_socket(self._protocol, connection)
        await asyncio.sleep(LAST_WORDS_SECONDS)

    def _protocol(self) -> asyncio.Protocol:
        return self._protocol_class(self.config, self.server_state, self.lifespan.state)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(settings: Settings) -> int:
    """Run the service until a signal ends it or the device is lost.

    Returns:
        The exit code: 0 after a drain, `EXIT_FORCED` when accepted work was cut off, `EXIT_LOST` after the loss of the
        device or when the weights cannot be loaded.
    """
    configure_logs(settings)
    if not _is_loopback(settings.host) and not settings.api_key_hashes:
        log().warning("listening on a public address without an API key", host=settings.host)
    server = Server(settings)
    server.run()
    return server.exit_code
