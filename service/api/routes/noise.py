"""POST /v1/noise."""

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from models.images.noise_level import NoiseEstimate
from service.api.context import context_of
from service.api.openapi import ENGINE, IMAGES, image_request, problems
from service.api.options import parse
from service.api.rendering import noise as noise_body
from service.api.run_job import run_job
from service.api.schemas import Noise, NoiseOptions
from service.api.upload import Upload
from service.denoising.noise_job import NoiseJob
from service.telemetry.request_record import stage

router = APIRouter(tags=["denoise"])


@router.post(
    "/v1/noise",
    response_model=Noise,
    response_description="The estimated noise.",
    responses=problems(*IMAGES, *ENGINE),
    openapi_extra=image_request(NoiseOptions),
)
async def noise(request: Request) -> Response:
    """Estimate the standard deviation of the noise in an image without denoising it."""
    context = context_of(request)
    context.engine.check()

    def prepare(upload: Upload) -> tuple[NoiseJob, Callable[[NoiseEstimate], Response]]:
        options = parse(NoiseOptions, upload.fields)
        timer = partial(stage, context.metrics)
        return NoiseJob(upload.image, options.color, context.engine.model_info(), context.limits, timer), render

    def render(estimate: NoiseEstimate) -> Response:
        context.metrics.estimated_sigma.observe(estimate.sigma)
        return JSONResponse(noise_body(estimate).model_dump())

    return await run_job(request, context, prepare)
