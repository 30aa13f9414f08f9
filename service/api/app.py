"""The application: a value built from settings and an engine."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from service import version
from service.api.context import AppContext
from service.api.error_responses import handle
from service.api.job_runner import JobRunner
from service.api.middleware import PROBES, ApiKeys, Cors, ErrorRendering, RequestLog, ServerOptions
from service.api.openapi import complete
from service.api.routes import denoise, evaluate, health, info, neighbors, noise, page, upscale
from service.api.routes import jobs as job_routes
from service.api.upload_limits import UploadLimits
from service.engine.engine import Engine
from service.errors import ServiceError
from service.jobs.open_store import open_store
from service.settings import Settings
from service.telemetry.metrics import Metrics

_LAG_SECONDS = 0.05


def create_app(settings: Settings | None = None, engine: Engine | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: Settings; by default read from the environment.
        engine: Engine, whose metrics become those of the application; by default built from the settings.
    """
    settings = settings or Settings()
    engine = engine or Engine(settings, Metrics())
    context = AppContext(settings, engine.metrics, engine)
    store = open_store(settings)
    jobs = JobRunner(context, store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        tasks = [asyncio.create_task(_watch(context)), asyncio.create_task(jobs.watch())]
        try:
            yield
            await jobs.shut_down()
            await engine.stop()
        finally:  # even if the server is forced to end
            for task in tasks:
                task.cancel()
            engine.abandon()
            await store.close()
            context.close()

    cors = [Middleware(Cors, settings.cors_origins)] if settings.cors_origins else []
    inner = [Middleware(each, context) for each in (ServerOptions, ErrorRendering, ApiKeys, UploadLimits)]
    app = FastAPI(
        title="n3denoise",
        summary="Denoise and enlarge images with Neural Nearest Neighbors Networks.",
        version=version(),
        lifespan=lifespan,
        middleware=[Middleware(RequestLog, context), *cors, *inner],
        exception_handlers=dict.fromkeys((ServiceError, HTTPException, RequestValidationError), handle),
        docs_url=None,  # the page serves its own, without the internet
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        # Traces only, and only if the variables of OpenTelemetry name a collector. Metrics and logs have ways of their own.
        telemetry={
            "auto_configure": True,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "exclude": lambda scope: scope["path"] in PROBES,
        },
        redirect_slashes=False,  # a redirect would repeat whatever the Host header says
    )
    app.state.context, app.state.jobs = context, jobs
    for routes in (denoise, upscale, job_routes, evaluate, noise, neighbors, info, health, page):
        app.include_router(routes.router)
    complete(app.openapi(), keys_required=bool(settings.api_key_hashes))
    return app


async def _watch(context: AppContext) -> None:
    """Measure how late the event loop wakes up, which shows whether something computes on it, and log stuck threads."""
    while True:
        due = time.monotonic() + _LAG_SECONDS
        await asyncio.sleep(_LAG_SECONDS)
        context.metrics.loop_lag.observe(max(0.0, time.monotonic() - due))
        context.report_stuck()
