"""What all requests of one application share: settings, metrics, the engine, and the thread pools."""

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, ParamSpec, TypeVar, get_args

from starlette.requests import HTTPConnection

from service.engine.engine import Engine
from service.imaging.picture import DecodeLimits
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import current_record, note_stage

P = ParamSpec("P")
T = TypeVar("T")

PooledStage = Literal["read", "decode", "encode"]
SMALL_PIXELS = 1_000_000


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
    """

    def __init__(self, settings: Settings, metrics: Metrics, engine: Engine) -> None:
        """Create the thread pools; they start their threads on demand."""
        self.settings = settings
        self.metrics = metrics
        self.engine = engine
        self.limits = DecodeLimits(settings.max_pixels, settings.max_channels)
        self.uploads_bytes = 0
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
            return await asyncio.get_running_loop().run_in_executor(threads, lambda: context.run(func, *args, **kwargs))
        finally:
            timed_inside = sum(record.stages.values()) - timed_before
            note_stage(self.metrics, record, name, max(0.0, time.monotonic() - start - timed_inside))

    def close(self) -> None:
        """Stop the threads after their current work."""
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)


def context_of(connection: HTTPConnection) -> AppContext:
    """Return the shared context of the application that serves a connection."""
    context: AppContext = connection.app.state.context
    return context
