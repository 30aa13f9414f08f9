"""POST /v1/noise."""

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.context import context_of
from service.api.openapi import ENGINE, IMAGES, image_request, problems
from service.api.options import parse
from service.api.rendering import noise_json
from service.api.run_job import run_job
from service.api.schemas import NoiseByPlane, NoiseOptions
from service.api.upload import Upload
from service.denoising.noise_job import NoiseJob, NoiseResult
from service.settings import PHOTO_MODEL
from service.telemetry.request_record import stage

router = APIRouter(tags=["denoise"])


@router.post(
    "/v1/noise",
    response_model=NoiseByPlane,
    response_description="The estimated noise.",
    responses=problems(*IMAGES, *ENGINE),
    openapi_extra=image_request(NoiseOptions),
)
async def noise(request: Request) -> Response:
    """Estimate the standard deviation of the noise in an image without denoising it."""
    context = context_of(request)
    context.engine.check()

    def prepare(upload: Upload) -> tuple[NoiseJob, Callable[[NoiseResult], Response]]:
        options = parse(NoiseOptions, upload.fields)
        timer = partial(stage, context.metrics)
        photo = context.engine.models.get(PHOTO_MODEL)

        def render(result: NoiseResult) -> Response:
            context.metrics.estimated_sigma.observe(result.estimate.sigma)
            return noise_json(result, noise_map=options.noise_map)

        return NoiseJob(upload.image, options.color, context.engine.model_info(), context.limits, timer, photo), render

    return await run_job(request, context, prepare)
