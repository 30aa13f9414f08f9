"""The denoising job that a request asks for, and what is counted about its result."""

from dataclasses import replace
from functools import partial

from service.api.context import AppContext
from service.api.negotiation import Accepted
from service.api.schemas import DenoiseOptions
from service.api.upload import Upload
from service.denoising.blending import Blend
from service.denoising.denoising_job import DenoisingJob, DenoisingResult
from service.denoising.job import OutputOptions
from service.denoising.photon_counts import photon_options
from service.denoising.pipeline import DenoisingOptions
from service.settings import AUTO, DEFAULT_MODEL, PHOTO_MODEL
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import current_record, stage


def denoising_job(context: AppContext, upload: Upload, options: DenoiseOptions, accept: Accepted) -> DenoisingJob:
    """Return the job, which reads the headers of the images.

    Args:
        context: What all requests share.
        upload: The images.
        options: The options.
        accept: What the client accepts.

    Raises:
        ServiceError: If an image is refused by its header, an option does not fit, or the client does not accept the format.
    """
    automatic = options.model == AUTO
    model = context.engine.model_info(DEFAULT_MODEL if automatic else options.model)
    current_record().model = model.name
    sigma, gain, read_noise = (None if value == "auto" else value for value in (options.sigma, options.gain, options.read_noise))
    job = DenoisingJob(
        upload.image,
        upload.reference,
        model,
        DenoisingOptions(
            sigma,
            options.color,
            options.ensemble,
            Blend(options.strength, options.luma_strength, options.chroma_strength, options.detail),
        ),
        OutputOptions(options.format, options.depth, options.metadata),
        context.limits,
        partial(stage, context.metrics),
        context.engine.models.get(PHOTO_MODEL),
        automatic=automatic,
        mask=upload.mask,
        photons=photon_options(options.noise, gain=gain, read_noise=read_noise, sigma=sigma),
    )
    job.output = replace(job.output, file_format=accept.image_format(options.format, job.default_format))
    return job


def note_result(metrics: Metrics, result: DenoisingResult) -> None:
    """Count what the figures of a result say, and note the model that denoised it in the record of the request."""
    if result.denoised.estimate:
        metrics.estimated_sigma.observe(result.denoised.sigma)
    if result.quality:
        metrics.observe_psnr(result.quality.noisy.psnr, result.quality.denoised.psnr)
    current_record().model = result.model.name
