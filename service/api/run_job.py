"""The path of a request from its body to its response: read, decode, denoise, encode.

A request crosses to a thread pool three times: to split the body and read the image headers, to decode, and to encode. In
between the compute thread runs the network. If a network estimates the noise, the request crosses a fourth time, between the
estimate and the denoising.
"""

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from service.api.cancellation import cancel_when_gone
from service.api.context import AppContext
from service.api.upload import RawUpload, Upload, read_body
from service.denoising.job import Job
from service.denoising.pipeline import Pass
from service.engine.ticket import Ticket
from service.imaging.picture import Plane
from service.telemetry.request_record import current_record

Result = TypeVar("Result")
Rendered = TypeVar("Rendered")
Prepare = Callable[[Upload], tuple[Job[Result], Callable[[Result], Response]]]
"""Parses the options of a request and returns its job, which reads the image headers, and what renders the job's result."""


async def run_job(request: Request, context: AppContext, prepare: Prepare[Result]) -> Response:
    """Run the job that a request asks for.

    Args:
        request: The request; its body has not been read.
        context: What all requests share.
        prepare: Makes the job; it and the renderer that it returns run on a thread pool.

    Raises:
        ServiceError: If any part fails, the client hangs up, or the deadline passes.
    """
    raw = await read_body(request, context)
    return await cancel_when_gone(request, context, _run(context, raw, prepare))


async def _run(context: AppContext, raw: RawUpload, prepare: Prepare[Result]) -> Response:
    job, render = await context.run_stage("read", lambda: prepare(raw.parse()))
    ticket = admit(context, job)
    with ticket:
        return await compute(context, ticket, job, render)


def admit(context: AppContext, job: Job[Result], timeout: float | None = None) -> Ticket:
    """Give a job a place in the queue of the engine; see `Engine.admit`."""
    return context.engine.admit(
        job.network_pixels,
        current_record().arrived,
        held=job.held_pixels,
        model=job.model.name,
        passes=job.passes,
        image_pixels=job.header.pixels,
        timeout=timeout,
    )


async def compute(context: AppContext, ticket: Ticket, job: Job[Result], render: Callable[[Result], Rendered]) -> Rendered:
    """Compute an admitted job: decode, run the passes of the network, encode.

    Args:
        context: What all requests share.
        ticket: The place of the job in the queue of the engine.
        job: The job.
        render: Makes what to return of the result, on the thread pool that encodes.

    Raises:
        ServiceError: If any part fails.
    """

    async def run_passes(first: Pass) -> Plane:
        return await context.engine.denoise(ticket, first, job.resume, first.model or job.model.name)

    current = await context.run_stage("decode", job.start)
    if current and current.sigma is None:
        current = await context.run_stage("decode", job.estimated, await run_passes(current))
    denoised = await run_passes(current) if current else None
    return await context.run_stage("encode", lambda: render(job.finish(denoised)))
