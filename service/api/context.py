"""What all requests of one application share: settings, metrics, the engine, and the thread pools."""

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, ParamSpec, TypeVar, get_args

from starlette.requests import HTTPConnection

from service.engine.engine import Engine
from service.errors import NotReady, ServiceError
from service.imaging.picture import DecodeLimits
from service.settings import Settings
from service.telemetry.logs import log
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import current_record, note_stage

P = ParamSpec("P")
T = TypeVar("T")

PooledStage = Literal["read", "decode", "encode"]
SMALL_PIXELS = 1_000_000


@dataclass(eq=False)
class _Call:
    """A function that runs on a thread now.

    Attributes:
        stage: The stage that it is part of.
        request_id: ID of its request.
        began: When it began, on the monotonic clock.
        reported: Whether the log says that it is stuck.
    """

    stage: PooledStage
    request_id: str
    began: float
    reported: bool = False


class AppContext:
    """Settings, metrics, the engine, and the threads for everything that is done to a picture off the device.

    Each pooled stage has its own threads, and pictures under a megapixel have their own as well, because encoding one of 40
    megapixels takes seconds.

    Attributes:
        settings: The settings, read at start.
        metrics: The metrics of the application.
        engine: The entrance to the device.
        limits: Which files are accepted.
        uploads_bytes: Bytes of all request bodies that are held now.
        unread_bytes: Bytes of all responses that clients are slow to read.
    """

    def __init__(self, settings: Settings, metrics: Metrics, engine: Engine) -> None:
        """Create the thread pools; they start their threads on demand."""
        self.settings = settings
        self.metrics = metrics
        self.engine = engine
        self.limits = DecodeLimits(settings.max_pixels, settings.max_channels)
        self.uploads_bytes = self.unread_bytes = 0
        self._calls: set[_Call] = set()
        metrics.ready.set_function(lambda: self.trouble is None)
        metrics.stuck_threads.set_function(lambda: self.stuck_threads)
        self._threads = {
            (stage, size): ThreadPoolExecutor(settings.codec_threads, thread_name_prefix=f"{stage}-{size}")
            for stage in get_args(PooledStage)
            for size in ("small", "large")
        }

    async def run_stage(self, name: PooledStage, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function on a thread of its stage, because the event loop never computes, and time it.

        Stages that the function times itself do not count toward this one. Before admission every request counts as small.
        """
        record = current_record()
        threads = self._threads[name, "small" if record.pixels < SMALL_PIXELS else "large"]
        context = contextvars.copy_context()  # so that the function finds the request's record
        record.stages.setdefault(name, 0.0)  # so that Server-Timing lists it before the stages inside
        start, timed_before = time.monotonic(), sum(record.stages.values())
        try:
            return await asyncio.get_running_loop().run_in_executor(
                threads, context.run, partial(self._watched, name, func, *args, **kwargs)
            )
        finally:
            timed_inside = sum(record.stages.values()) - timed_before
            note_stage(self.metrics, record, name, max(0.0, time.monotonic() - start - timed_inside))

    def _watched(self, stage: PooledStage, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = _Call(stage, current_record().request_id, time.monotonic())
        self._calls.add(call)
        try:
            return func(*args, **kwargs)
        finally:
            self._calls.remove(call)

    def _stuck(self) -> list[_Call]:
        latest = time.monotonic() - self.settings.hang_seconds
        return [call for call in list(self._calls) if call.began < latest]

    @property
    def stuck_threads(self) -> int:
        """Number of threads that have worked on one stage of one request for longer than any should."""
        return len(self._stuck())

    def report_stuck(self) -> None:
        """Log each stuck thread once."""
        for call in self._stuck():
            if not call.reported:
                call.reported = True
                seconds = round(time.monotonic() - call.began, 1)
                log().warning("stuck thread", id=call.request_id, stage=call.stage, seconds=seconds)

    @property
    def trouble(self) -> ServiceError | None:
        """Why the service should get no new work; None when ready."""
        return self.engine.trouble or (NotReady.stuck() if self.stuck_threads else None)

    def close(self) -> None:
        """Stop the threads after their current work."""
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)


def context_of(connection: HTTPConnection) -> AppContext:
    """Return the shared context of the application that serves a connection."""
    context: AppContext = connection.app.state.context
    return context
