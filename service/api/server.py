"""uvicorn with a listener that stays open while the service drains, and with exit codes."""

import asyncio
import contextlib
import ipaddress
import math
import os
import resource
import socket
import time
from types import FrameType

import uvicorn

from service.api.app import create_app
from service.api.context import AppContext
from service.api.h11_protocol import TimedH11Protocol
from service.api.job_runner import JobRunner
from service.engine.engine import Engine
from service.settings import Settings
from service.telemetry.logs import configure_logs, log
from service.telemetry.metrics import Metrics

LAST_WORDS_SECONDS = 0.3
JOBS_NOTICE_SECONDS = 3.0
EXIT_FORCED = EXIT_NOT_STARTED = 1
EXIT_LOST = 3


class Server(uvicorn.Server):
    """A server that drains on the first SIGTERM or SIGINT and ends immediately on the second.

    While it drains, readiness is off and new work gets 503. The listener keeps answering for at least `drain_delay_seconds`, so
    that the load balancer sees the change, and then until admitted work is done or `grace_seconds` have passed.

    Attributes:
        settings: Addresses and times.
        engine: The engine that drains.
        exit_code: Exit code of the process.
        app: The application.
        context: What the requests of the application share.
    """

    def __init__(self, settings: Settings, engine: Engine | None = None) -> None:
        """Create the application; without an engine, create that from the settings as well."""
        self.settings = settings
        self.engine = engine or Engine(settings, Metrics())
        self.exit_code = 0
        self._drain_began: float | None = None
        self._jobs_notice = min(JOBS_NOTICE_SECONDS, settings.grace_seconds / 4)

        self.app = create_app(settings, self.engine)
        self.context: AppContext = self.app.state.context
        self.jobs: JobRunner = self.app.state.jobs

        class Protocol(TimedH11Protocol):
            header_seconds = settings.header_timeout_seconds
            body_seconds = settings.body_seconds
            context = self.context

        self._protocol_class = Protocol
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

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (both signals mean the same)
        """Begin to drain. Plain uvicorn would close its sockets immediately, and nobody could see readiness change."""
        if self._drain_began is not None:
            self.should_exit = self.force_exit = True
            self.exit_code = EXIT_FORCED
            return
        self._drain_began = time.monotonic()
        self.engine.drain()

    async def on_tick(self, counter: int) -> bool:
        """Decide, ten times per second, whether to end."""
        if self.engine.lost and not self.engine.busy:
            log().error("shutting down because the device is lost")
            self.exit_code = EXIT_LOST
            return True
        if self._drain_began is not None:
            drained = time.monotonic() - self._drain_began
            if drained >= self.settings.grace_seconds:
                self.exit_code = EXIT_FORCED
                return True
            if drained >= self.settings.grace_seconds - self._jobs_notice:
                await self.jobs.shut_down()  # early enough for callers to read that their jobs were canceled
            if drained >= self.settings.drain_delay_seconds and not self.engine.busy and not self.jobs.busy:
                return True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener, and let responses that are being written use the rest of the grace period."""
        await self._close_listeners()
        drained = time.monotonic() - (self._drain_began or time.monotonic())
        self.config.timeout_graceful_shutdown = max(1, math.ceil(self.settings.grace_seconds - drained))
        await super().shutdown(sockets)

    async def _close_listeners(self) -> None:
        """Accept the connections that wait in the backlog, so that they hear that the service drains instead of being reset."""
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


def _raise_descriptor_limit() -> None:
    """Allow as many open files as the hard limit permits: without a free descriptor, even health checks cannot connect."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # some systems refuse an unlimited hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def serve(settings: Settings) -> int:
    """Run the service until a signal ends it or the device is lost.

    Returns:
        The exit code: 0 after a drain, `EXIT_NOT_STARTED` when the port is taken, `EXIT_FORCED` when accepted work was cut off,
        `EXIT_LOST` after the loss of the device or when the weights cannot be loaded.
    """
    configure_logs(settings)
    _raise_descriptor_limit()
    if not _is_loopback(settings.host) and not settings.api_key_hashes:
        log().warning("listening on a public address without an API key", host=settings.host)
    server = Server(settings)
    try:
        server.run()
    except SystemExit:  # uvicorn's answer to a port that is taken
        return EXIT_NOT_STARTED
    return server.exit_code
