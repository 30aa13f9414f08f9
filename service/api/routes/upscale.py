"""POST /v1/upscale."""

from collections.abc import Callable

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.context import context_of
from service.api.job_schemas import ACCEPTED
from service.api.negotiation import accepted, prefers_async
from service.api.openapi import ENGINE, IMAGES, STORING, image_request, image_response, problems
from service.api.options import parse
from service.api.routes.jobs import accept_job
from service.api.run_job import run_job
from service.api.upload import Upload
from service.api.upscale_rendering import UPSCALE_HEADERS, upscaled_image, upscaled_json
from service.api.upscale_schemas import Upscaled, UpscaleOptions
from service.api.upscaling_request import note_upscaled, upscaling_job
from service.denoising.upscaling_job import UpscalingJob, UpscalingResult
from service.imaging.picture import MEDIA_TYPES
from service.settings import UPSCALE_MODEL
from service.telemetry.request_record import current_record

router = APIRouter(tags=["upscale"])


@router.post(
    "/v1/upscale",
    response_class=Response,
    responses={
        **image_response(Upscaled, tuple(MEDIA_TYPES.values()), UPSCALE_HEADERS),
        **ACCEPTED,
        **problems(*IMAGES, *ENGINE, *STORING),
    },
    openapi_extra=image_request(UpscaleOptions, "UpscaleForm"),
)
async def upscale(request: Request) -> Response:
    """Enlarge an image by 2, 3 or 4, sent as the body or as the field `image` of a multipart form.

    With the header `Prefer: respond-async`, the response is that of `POST /v1/jobs?task=upscale`.
    """
    if prefers_async(request):
        return await accept_job(request, "upscale")
    context = context_of(request)
    current_record().model = UPSCALE_MODEL
    context.engine.check()
    accept = accepted(request)

    def prepare(upload: Upload) -> tuple[UpscalingJob, Callable[[UpscalingResult], Response]]:
        job = upscaling_job(context, upload, parse(UpscaleOptions, upload.fields), accept)

        def render(result: UpscalingResult) -> Response:
            note_upscaled(context.metrics, result)
            return upscaled_json(result) if accept.json else upscaled_image(result)

        return job, render

    return await run_job(request, context, prepare)
