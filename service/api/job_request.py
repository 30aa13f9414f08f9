"""What a background job is asked to do: denoise or enlarge a picture."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from service.api.context import AppContext
from service.api.denoising_request import denoising_job, note_result
from service.api.job_schemas import Task, TaskOption
from service.api.negotiation import Accepted
from service.api.options import parse
from service.api.rendering import denoise_headers, figures_of
from service.api.schemas import DenoiseOptions
from service.api.upload import Upload
from service.api.upscale_rendering import upscale_headers, upscaled_figures
from service.api.upscale_schemas import UpscaleOptions
from service.api.upscaling_request import note_upscaled, upscaling_job
from service.denoising.denoising_job import DenoisingJob
from service.denoising.upscaling_job import UpscalingJob, enlarged_header
from service.imaging.picture import Depth, Header
from service.jobs.result import reserved_bytes
from service.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a background job is asked to do.

    Attributes:
        job: The job; it has read the headers of the images.
        image: The image file.
        reserved_bytes: How many bytes the images and the result may take in the store.
        fingerprint: SHA-256 of the images and options.
        gray: Whether color is converted to gray.
        factor: The factor by which the picture is enlarged.
        note: Counts what the figures of the result of the job say.
        figures: Returns the figures of the result.
        headers: Returns the figures as headers.
    """

    job: DenoisingJob | UpscalingJob
    image: bytes
    reserved_bytes: int
    fingerprint: str
    gray: bool
    factor: int
    note: Callable[[Metrics, Any], None]
    figures: Callable[[Any], BaseModel]
    headers: Callable[[Any], dict[str, str]]


def job_request(context: AppContext, upload: Upload, accept: Accepted, task: Task | None) -> JobRequest:
    """Return what the options and images of a request ask for.

    Args:
        context: What all requests share.
        upload: The images and options.
        accept: What the client accepts.
        task: The task; None if an option says it.

    Raises:
        ServiceError: See `denoising_job`.
    """
    fields = dict(upload.fields)
    if task is None:
        task = parse(TaskOption, {"task": fields.pop("task")} if "task" in fields else {}).task
    if task == "upscale":
        upscaling = parse(UpscaleOptions, fields)
        enlarging = upscaling_job(context, upload, upscaling, accept)
        return JobRequest(
            job=enlarging,
            image=upload.image,
            reserved_bytes=_reserved_bytes(upload, enlarging.header, upscaling.depth, gray=False, factor=upscaling.factor),
            fingerprint=_fingerprint(upload, upscaling),
            gray=False,
            factor=upscaling.factor,
            note=note_upscaled,
            figures=upscaled_figures,
            headers=upscale_headers,
        )
    options = parse(DenoiseOptions, fields)
    job, gray = denoising_job(context, upload, options, accept), options.color == "gray"
    return JobRequest(
        job=job,
        image=upload.image,
        reserved_bytes=_reserved_bytes(upload, job.header, options.depth, gray=gray, factor=1),
        fingerprint=_fingerprint(upload, options),
        gray=gray,
        factor=1,
        note=note_result,
        figures=lambda result: figures_of(result, noise_map=options.noise_map),
        headers=denoise_headers,
    )


def _reserved_bytes(upload: Upload, header: Header, depth: Depth | None, *, gray: bool, factor: int) -> int:
    others = len(upload.reference or b"") + len(upload.mask or b"")
    return others + reserved_bytes(enlarged_header(header, factor), upload.image, depth, gray=gray)


def _fingerprint(upload: Upload, options: BaseModel) -> str:
    """Return the SHA-256 of what a job is asked to do."""
    digest = hashlib.sha256()
    for part in (options.model_dump_json().encode(), upload.image, upload.reference or b"", upload.mask or b""):
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()
