"""POST /v1/noise: how noisy is this picture."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from service.api.cancellation import attend
from service.api.context import State, state_of
from service.api.openapi import ENGINE, IMAGES, image_request, problems
from service.api.routes.denoise import noise_of
from service.api.schemas import Noise, NoiseOptions, parse
from service.api.upload import Upload, read_upload
from service.denoising.pipeline import estimate_sigma
from service.imaging import codec
from service.telemetry.request_record import current_record

router = APIRouter(tags=["denoise"])


@router.post(
    "/v1/noise",
    response_model=Noise,
    responses=problems(*IMAGES, *ENGINE),
    openapi_extra=image_request(NoiseOptions, "image"),
)
async def noise(request: Request) -> JSONResponse:
    """Find out the standard deviation of the noise in an image, which is not denoised."""
    state = state_of(request)
    state.engine.check()
    upload = await read_upload(request, state)
    options = parse(NoiseOptions, upload.fields)
    found = await attend(request, state, work(state, upload, options))
    return JSONResponse(found.model_dump())


async def work(state: State, upload: Upload, options: NoiseOptions) -> Noise:
    """Decode and estimate, on the codec threads."""
    sigma_range = state.engine.loaded_facts().sigma_range
    header = await state.codec("decode", codec.probe, upload.image, state.limits)
    with state.engine.admit(0, current_record().arrived, held=header.pixels):
        picture = await state.codec("decode", codec.decode, upload.image, state.limits)
        estimate = await state.codec("treat", estimate_sigma, picture, options.color, sigma_range)
    state.metrics.estimated_sigma.observe(estimate.sigma)
    return noise_of(estimate)
