"""/v1/jobs: denoise and enlarge in the background."""

import asyncio
import math
import re
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import JSONResponse, Response

from service import errors
from service.api.context import context_of
from service.api.error_responses import MEDIA_TYPE
from service.api.job_request import job_request
from service.api.job_runner import REPORT_SECONDS, runner_of
from service.api.job_schemas import ACCEPTED, Job, Jobs, ListOptions, ResultOptions, Task, TaskOption
from service.api.negotiation import accepted
from service.api.openapi import ENGINE, IMAGES, STORED, STORING, file_response, image_request, problems, query_parameters
from service.api.options import parse
from service.api.rendering import DENOISE_HEADERS
from service.api.schemas import DenoiseOptions
from service.api.upload import read_body
from service.api.upscale_rendering import UPSCALE_HEADERS
from service.api.upscale_schemas import UpscaleOptions
from service.imaging.picture import MEDIA_TYPES
from service.jobs.state import ANYONE, JobState
from service.settings import DEFAULT_MODEL
from service.telemetry.request_record import current_record

router = APIRouter(tags=["jobs"])

LONGEST_WAIT = 10.0
"""Seconds that a caller is asked to wait at most before it asks for the state of a job again."""

_HEADERS = {**UPSCALE_HEADERS, **DENOISE_HEADERS}
_QUALITY_HEADERS = {name.lower() for name in _HEADERS if "PSNR" in name or "SSIM" in name}  # of the file, not of the picture
_ID = r"[A-Za-z0-9_-]{16,64}"
JobId = Annotated[
    str,
    Path(
        description="ID of the job: 16 to 64 letters, digits, hyphens and underscores.",
        json_schema_extra={"pattern": f"^{_ID}$"},
    ),
]


async def found_job(request: Request, job_id: JobId) -> JobState:
    """Return the state of the job that a request names.

    Raises:
        NotFound: If the caller has no such job.
    """
    state = None
    if re.fullmatch(_ID, job_id):
        state = await runner_of(request).store.get(_owner(), job_id)
    if state is None:
        raise errors.NotFound("There is no such job, or it ended too long ago.")
    return state


Found = Annotated[JobState, Depends(found_job)]
_ASKED = image_request((TaskOption, UpscaleOptions, DenoiseOptions), "DenoiseForm")
_KNOWN: dict[int | str, dict[str, Any]] = {200: {"model": Job, "description": "The same job was accepted before."}}


@router.post(
    "/v1/jobs",
    status_code=202,
    responses={**ACCEPTED, **problems(*IMAGES, *ENGINE, *STORING)},
    openapi_extra=_ASKED,
)
async def create_job(request: Request) -> Response:
    """Denoise an image in the background, or enlarge it with `task=upscale`; each task takes the options of its own route."""
    return await submit(request, uuid.uuid4().hex)


@router.put(
    "/v1/jobs/{job_id}",
    status_code=202,
    responses={**_KNOWN, **ACCEPTED, **problems(*IMAGES, *ENGINE, *STORING, errors.JobConflict)},
    openapi_extra=_ASKED,
)
async def create_job_with_id(request: Request, job_id: JobId) -> Response:
    """Denoise or enlarge an image under an ID of your own; a repeated request with the same content starts nothing new."""
    if not re.fullmatch(_ID, job_id):
        raise errors.InvalidParameter(
            "The ID of a job has 16 to 64 letters, digits, hyphens and underscores.", parameters=["job_id"]
        )
    return await submit(request, job_id)


@router.get(
    "/v1/jobs",
    response_model=Jobs,
    response_description="The jobs.",
    responses=problems(errors.Forbidden, errors.InvalidParameter, errors.JobsUnavailable),
    openapi_extra={"parameters": query_parameters(ListOptions)},
)
async def list_jobs(request: Request) -> Response:
    """List the jobs of the caller's API key, the newest first."""
    options = parse(ListOptions, dict(request.query_params))
    if _owner() == ANYONE:
        raise errors.Forbidden("Jobs are listed by API key, and this service requires none.")
    states = await runner_of(request).store.list(_owner(), options.limit + 1, options.after)
    shown = states[: options.limit]
    body = Jobs(jobs=[Job.of(state) for state in shown], next=shown[-1].id if len(states) > len(shown) else None)
    return JSONResponse(body.model_dump(mode="json"))


@router.get(
    "/v1/jobs/{job_id}",
    response_model=Job,
    response_description="The state of the job.",
    responses=problems(*STORED),
)
async def job(request: Request, state: Found) -> Response:
    """Return the state of a job."""
    if state.finished and state.status != "succeeded":  # there is no result to receive
        runner_of(request).note_read(state)
    return state_response(state)


@router.get(
    "/v1/jobs/{job_id}/result",
    response_class=Response,
    responses={
        **file_response(tuple(MEDIA_TYPES.values()), _HEADERS),
        **problems(*IMAGES, *ENGINE, errors.JobNotFinished, errors.JobGone, errors.InstanceLost, *STORED),
    },
    openapi_extra={"parameters": query_parameters(ResultOptions)},
)
async def job_result(request: Request, state: Found) -> Response:
    """Return the denoised or enlarged image, in any format and any number of times."""
    context, runner = context_of(request), runner_of(request)
    options = parse(ResultOptions, dict(request.query_params))
    formats = accepted(request)
    if not state.finished:
        raise errors.JobNotFinished(retry_after=min(LONGEST_WAIT, state.eta_seconds or 0))
    if state.status == "failed" and state.error:
        current_record().error = str(state.error["type"]).rpartition(":")[2]
        return JSONResponse(state.error, state.error["status"], media_type=MEDIA_TYPE)
    async with runner.reading:
        result = await runner.store.result(state.owner, state.id) if state.status == "succeeded" else None
        if result is None:
            raise errors.JobGone("The job was canceled." if state.status == "canceled" else "The result is no longer kept.")
        file_format = formats.image_format(options.format, result.file_format)
        headers = dict(state.headers)
        if file_format == result.file_format and options.depth is None and options.strength == 1:
            file = result.file
        else:
            headers = {name: value for name, value in headers.items() if name not in _QUALITY_HEADERS}
            current_record().pixels = result.samples.size
            file = await context.run_stage("encode", result.write, file_format, options.depth, options.strength, context.limits)
    runner.note_read(state)
    return Response(file, 200, headers, MEDIA_TYPES[file_format])


@router.get("/v1/jobs/{job_id}/events", response_class=EventSourceResponse, responses=problems(*STORED))
async def job_events(
    request: Request, state: Found, last_event_id: Annotated[str, Header(description="ID of the last event received.")] = ""
) -> AsyncIterator[ServerSentEvent]:
    """Stream the states of a job as server-sent events named `state`, until it has ended."""
    runner, sent = runner_of(request), last_event_id
    while True:
        if str(state.version) != sent:
            sent = str(state.version)
            yield ServerSentEvent(data=Job.of(state), event="state", id=sent)
        if state.finished:
            return
        await asyncio.sleep(REPORT_SECONDS)
        present = await runner.store.get(state.owner, state.id)
        if present is None:
            return
        state = present


@router.delete(
    "/v1/jobs/{job_id}",
    response_model=Job,
    response_description="The state in which the job ended.",
    responses=problems(*STORED),
)
async def delete_job(request: Request, state: Found) -> Response:
    """Cancel a job, or forget it and its result if it has ended."""
    return state_response(await runner_of(request).cancel(state))


async def accept_job(request: Request, task: Task) -> Response:
    """Accept a background job from a request that prefers not to wait, and return its state."""
    response = await submit(request, uuid.uuid4().hex, task)
    response.headers["preference-applied"] = "respond-async"
    return response


async def submit(request: Request, job_id: str, task: Task | None = None) -> Response:
    """Accept a background job, and return its state.

    Args:
        request: The request.
        job_id: ID of the job.
        task: What the job does; None if an option says it.

    Raises:
        ServiceError: If the request is invalid, or if the job is not admitted.
    """
    context, record, runner = context_of(request), current_record(), runner_of(request)
    record.model = DEFAULT_MODEL
    context.engine.check()
    accept = accepted(request)

    raw = await read_body(request, context)
    asked = await context.run_stage("read", lambda: job_request(context, raw.parse(), accept, task))
    state, new = await runner.submit(_owner(), job_id, asked)
    record.model = None  # the job is counted when it ends
    return state_response(state, 202 if new else 200)


def state_response(state: JobState, status: int = 200) -> Response:
    """Return a state as JSON."""
    body = Job.of(state)
    headers = {"location": body.links.self} if status == 202 else {}
    if not state.finished:
        headers["retry-after"] = str(max(1, math.ceil(min(LONGEST_WAIT, state.eta_seconds or 0))))
    return JSONResponse(body.model_dump(mode="json"), status, headers)


def _owner() -> str:
    return current_record().caller or ANYONE
