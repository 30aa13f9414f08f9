"""A replica: the whole application with its engine in a process of Ray Serve, which brings the HTTP server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service.api.app import create_app
from service.api.context import AppContext
from service.api.job_runner import JobRunner
from service.errors import NotReady
from service.ray.autoscaling import WAITING_SECONDS
from service.ray.exported_metrics import export
from service.settings import Settings
from service.telemetry.logs import configure_logs

_LOADING_SECONDS = 0.1
_JOBS_SECONDS = 0.2


class Replica:
    """What Ray Serve asks a replica, beside the requests.

    Attributes:
        app: The application; Ray Serve sets it to what `application` returned.
    """

    app: FastAPI

    @property
    def _context(self) -> AppContext:
        context: AppContext = self.app.state.context
        return context

    async def check_health(self) -> None:
        """Wait until the models are loaded, which Ray Serve does before it sends requests; then tell whether the device works.

        Raises:
            ServiceError: If the device is lost or hangs, or if an image is stuck; Ray Serve then replaces the replica.
        """
        engine = self._context.engine
        while isinstance(engine.trouble, NotReady) and not engine.hung:  # noqa: ASYNC110 (the compute thread sets no event)
            await asyncio.sleep(_LOADING_SECONDS)
        if trouble := self._context.trouble:
            raise trouble

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what the autoscaling policy gets to know."""
        return {WAITING_SECONDS: self._context.engine.backlog_seconds()}


def application(settings: Settings) -> Callable[[], FastAPI]:
    """Return a function that builds the application of a replica, because an application itself cannot be sent to one."""

    def build() -> FastAPI:
        configure_logs(settings)
        app = create_app(settings)
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            context: AppContext = app.state.context
            async with inner(app):
                exporting = asyncio.create_task(export(context))
                yield
                await _finish_jobs(app.state.jobs, settings.grace_seconds)
                exporting.cancel()

        app.router.lifespan_context = lifespan
        return app

    return build


async def _finish_jobs(jobs: JobRunner, seconds: float) -> None:
    """Let the background jobs end, if other replicas can return their results; Ray Serve has waited for all requests before."""
    end = time.monotonic() + seconds
    while jobs.store.shared and jobs.busy and time.monotonic() < end:  # noqa: ASYNC110 (nor do jobs)
        await asyncio.sleep(_JOBS_SECONDS)
