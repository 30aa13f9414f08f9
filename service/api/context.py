"""What all requests of one application share."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from starlette.requests import HTTPConnection

from service.engine.engine import Engine
from service.imaging.picture import Limits
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import current_record, stage

P = ParamSpec("P")
T = TypeVar("T")

STAGES = ("read", "decode", "treat", "metric", "encode")
SMALL_PIXELS = 1_000_000


class State:
    """Settings, metrics, the engine, and the threads for all that is done to a picture off the device.

    Each stage has threads of its own, and pictures under a megapixel have theirs, for one of 40 may be encoded for seconds.

    Args:
        settings: As read at start.
        metrics: Where everything is counted.
        engine: The gate to the device.
    """

    def __init__(self, settings: Settings, metrics: Metrics, engine: Engine) -> None:
        self.settings = settings
        self.metrics = metrics
        self.engine = engine
        self.limits = Limits(pixels=settings.max_pixels)
        self.uploads_bytes = 0
        self._threads = {
            (stage_name, size): ThreadPoolExecutor(settings.codec_threads, thread_name_prefix=f"{stage_name}-{size}")
            for stage_name in STAGES
            for size in ("small", "large")
        }

    async def codec(self, stage_name: str, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function on a thread of its stage, for the event loop never computes, and time it.

        What comes before admission, forms and headers, is small whatever the picture.
        """
        size = "small" if current_record().pixels < SMALL_PIXELS else "large"
        with stage(self.metrics, stage_name):
            threads = self._threads[stage_name, size]
            return await asyncio.get_running_loop().run_in_executor(threads, lambda: func(*args, **kwargs))

    def close(self) -> None:
        """End the threads when their present work is done."""
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)


def state_of(connection: HTTPConnection) -> State:
    """The shared state of the application that serves this connection."""
    state: State = connection.app.state.shared
    return state
