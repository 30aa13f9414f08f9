"""The job that a request to enlarge a picture asks for, and what is counted about its result."""

from dataclasses import replace
from functools import partial

from service.api.context import AppContext
from service.api.negotiation import Accepted
from service.api.upload import Upload
from service.api.upscale_schemas import UpscaleOptions
from service.denoising.job import OutputOptions
from service.denoising.upscaling import UpscalingOptions
from service.denoising.upscaling_job import UpscalingJob, UpscalingResult
from service.errors import InvalidParameter
from service.settings import PHOTO_MODEL, UPSCALE_MODEL
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import current_record, stage


def upscaling_job(context: AppContext, upload: Upload, options: UpscaleOptions, accept: Accepted) -> UpscalingJob:
    """Return the job, which reads the headers of the images; see `denoising_job`."""
    current_record().model = UPSCALE_MODEL
    if upload.mask:
        raise InvalidParameter("A picture is enlarged as a whole, so it takes no mask.", parameters=["mask"])
    job = UpscalingJob(
        upload.image,
        upload.reference,
        context.engine.model_info(UPSCALE_MODEL),
        UpscalingOptions(options.factor, None if options.sigma == "auto" else options.sigma, options.ensemble),
        OutputOptions(options.format, options.depth, options.metadata),
        context.limits,
        partial(stage, context.metrics),
        context.engine.models.get(PHOTO_MODEL),
    )
    job.output = replace(job.output, file_format=accept.image_format(options.format, job.default_format))
    return job


def note_upscaled(metrics: Metrics, result: UpscalingResult) -> None:
    """Count what the figures of a result say."""
    if result.upscaled.estimate:
        metrics.estimated_sigma.observe(result.upscaled.sigma)
