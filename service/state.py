"""What all requests of one application share."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from starlette.requests import HTTPConnection

from service.engine import Engine
from service.picture import Limits
from service.settings import Settings
from service.telemetry import Metrics, stage

P = ParamSpec("P")
T = TypeVar("T")


class State:
    """Settings, metrics, the engine, and the threads for decoding and encoding.

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
        self._codec_threads = ThreadPoolExecutor(settings.codec_threads, thread_name_prefix="codec")

    async def codec(self, stage_name: str, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function on a codec thread, for the event loop never computes, and time it as a stage."""
        with stage(self.metrics, stage_name):
            return await asyncio.get_running_loop().run_in_executor(self._codec_threads, lambda: func(*args, **kwargs))

    def close(self) -> None:
        """End the codec threads when their present work is done."""
        self._codec_threads.shutdown(wait=False, cancel_futures=True)


def state_of(connection: HTTPConnection) -> State:
    """The shared state of the application that serves this connection."""
    state: State = connection.app.state.shared
    return state
