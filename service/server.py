"""uvicorn, made to keep its listener open while draining, to answer protocol errors as problems, and to cut off the slow."""

import asyncio
import contextlib
import ipaddress
import json
import math
import os
import socket
import time
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.app import create_app
from service.engine import Engine
from service.errors import BadRequest, HeadersTooLarge, ServiceError
from service.problems import MEDIA_TYPE
from service.settings import Settings
from service.state import State
from service.telemetry import Metrics, configure_logs, log, open_record

LAST_WORDS_SECONDS = 0.3
EXIT_FORCED = 1
EXIT_LOST = 3


class Protocol(H11Protocol):
    """HTTP/1.1 with a deadline for headers and for clients that do not read, and problem details for broken requests."""

    header_seconds = 10.0
    _header_timer: asyncio.TimerHandle | None = None
    _unread = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False  # ours has the routes, uvicorn's would have the paths

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request's headers."""
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(self.header_seconds, self._header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._stop_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Run the clock while a request's headers are incomplete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_header_timer()
        elif self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(self.header_seconds, self._header_timeout)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _header_timeout(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose client does not even read its answer is cut off, as closing would wait."""
        unread = self.transport.get_write_buffer_size()
        if unread and unread != self._unread:
            self._unread = unread
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        elif unread:
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002, the message would name no type
        """Answer what is not HTTP, or has too long headers."""
        buffered, _ = self.conn.trailing_data
        limit = self.config.h11_max_incomplete_event_size or 0
        error: ServiceError = BadRequest("That is not valid HTTP.")
        if len(buffered) > limit:
            error = HeadersTooLarge(f"The limit is {limit} bytes.", limit_bytes=limit)
        body = json.dumps(error.problem(open_record(None).request_id)).encode()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        for event in (h11.Response(status_code=error.status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


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
