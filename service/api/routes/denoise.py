"""POST /v1/denoise."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.context import context_of
from service.api.negotiation import accepted
from service.api.openapi import ENGINE, IMAGES, image_request, image_response, problems
from service.api.options import parse
from service.api.rendering import DENOISE_HEADERS, denoised_image, denoised_json
from service.api.run_job import run_job
from service.api.schemas import Denoised, DenoiseOptions
from service.api.upload import Upload
from service.denoising.blending import Blend
from service.denoising.job import DenoisingJob, DenoisingResult, OutputOptions
from service.denoising.photon_counts import photon_options
from service.denoising.pipeline import DenoisingOptions
from service.imaging.picture import MEDIA_TYPES
from service.settings import AUTO, DEFAULT_MODEL, PHOTO_MODEL
from service.telemetry.request_record import current_record, stage

router = APIRouter(tags=["denoise"])


@router.post(
    "/v1/denoise",
    response_class=Response,
    responses={**image_response(Denoised, tuple(MEDIA_TYPES.values()), DENOISE_HEADERS), **problems(*IMAGES, *ENGINE)},
    openapi_extra=image_request(DenoiseOptions, "DenoiseForm"),
)
async def denoise(request: Request) -> Response:
    """Denoise an image, sent as the body or as the field `image` of a multipart form."""
    context, record = context_of(request), current_record()
    record.model = DEFAULT_MODEL
    context.engine.check()
    accept = accepted(request)

    def prepare(upload: Upload) -> tuple[DenoisingJob, Callable[[DenoisingResult], Response]]:
        options = parse(DenoiseOptions, upload.fields)
        automatic = options.model == AUTO
        model = context.engine.model_info(DEFAULT_MODEL if automatic else options.model)
        record.model = model.name
        sigma, gain, read_noise = (
            None if value == "auto" else value for value in (options.sigma, options.gain, options.read_noise)
        )
        photons = photon_options(options.noise, gain=gain, read_noise=read_noise, sigma=sigma)
        blend = Blend(options.strength, options.luma_strength, options.chroma_strength, options.detail)
        job = DenoisingJob(
            upload.image,
            upload.reference,
            model,
            DenoisingOptions(sigma, options.color, options.ensemble, blend),
            OutputOptions(options.format, options.depth, options.metadata),
            context.limits,
            partial(stage, context.metrics),
            context.engine.models.get(PHOTO_MODEL),
            automatic=automatic,
            mask=upload.mask,
            photons=photons,
        )
        job.output = replace(job.output, file_format=accept.image_format(options.format, job.default_format))

        def render(result: DenoisingResult) -> Response:
            if result.denoised.estimate:
                context.metrics.estimated_sigma.observe(result.denoised.sigma)
            if result.quality:
                context.metrics.observe_psnr(result.quality.noisy.psnr, result.quality.denoised.psnr)
            record.model = result.model.name
            return denoised_json(result, noise_map=options.noise_map) if accept.json else denoised_image(result)

        return job, render

    return await run_job(request, context, prepare)
