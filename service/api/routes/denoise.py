"""POST /v1/denoise."""

from collections.abc import Callable

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.context import context_of
from service.api.denoising_request import denoising_job, note_result
from service.api.job_schemas import ACCEPTED
from service.api.negotiation import accepted, prefers_async
from service.api.openapi import ENGINE, IMAGES, STORING, image_request, image_response, problems
from service.api.options import parse
from service.api.rendering import DENOISE_HEADERS, denoised_image, denoised_json
from service.api.routes.jobs import accept_job
from service.api.run_job import run_job
from service.api.schemas import Denoised, DenoiseOptions
from service.api.upload import Upload
from service.denoising.denoising_job import DenoisingJob, DenoisingResult
from service.imaging.picture import MEDIA_TYPES
from service.settings import DEFAULT_MODEL
from service.telemetry.request_record import current_record

router = APIRouter(tags=["denoise"])


@router.post(
    "/v1/denoise",
    response_class=Response,
    responses={
        **image_response(Denoised, tuple(MEDIA_TYPES.values()), DENOISE_HEADERS),
        **ACCEPTED,
        **problems(*IMAGES, *ENGINE, *STORING),
    },
    openapi_extra=image_request(DenoiseOptions, "DenoiseForm"),
)
async def denoise(request: Request) -> Response:
    """Denoise an image, sent as the body or as the field `image` of a multipart form.

    With the header `Prefer: respond-async`, the response is that of `POST /v1/jobs`.
    """
    if prefers_async(request):
        return await accept_job(request, "denoise")
    context, record = context_of(request), current_record()
    record.model = DEFAULT_MODEL
    context.engine.check()
    accept = accepted(request)

    def prepare(upload: Upload) -> tuple[DenoisingJob, Callable[[DenoisingResult], Response]]:
        options = parse(DenoiseOptions, upload.fields)
        job = denoising_job(context, upload, options, accept)

        def render(result: DenoisingResult) -> Response:
            note_result(context.metrics, result)
            return denoised_json(result, noise_map=options.noise_map) if accept.json else denoised_image(result)

        return job, render

    return await run_job(request, context, prepare)
