"""GET /v1/models and /v1/info: the models; the versions, the device and the limits."""

import platform
from importlib import metadata

from fastapi import APIRouter, Request

from service import version
from service.api.context import context_of
from service.api.openapi import problems
from service.api.schemas import Info, Limits, ModelCard, Models
from service.errors import DeviceLost, Draining, NotReady
from service.settings import UPSCALE_MODEL

router = APIRouter(tags=["about"])


@router.get("/v1/models", response_description="The available models.", responses=problems(NotReady, Draining, DeviceLost))
async def models(request: Request) -> Models:
    """List the models with their ranges of noise levels and how they were trained."""
    engine = context_of(request).engine
    engine.model_info()  # raises while the weights are being loaded
    cards = [
        ModelCard(
            name=model.name,
            task="upscale" if model.name == UPSCALE_MODEL else "denoise",
            weights=model.weights,
            weights_sha256=model.weights_sha256,
            color_weights_sha256=model.color and model.color.weights_sha256,
            device=model.device,
            sigma_min=model.sigma_range[0],
            sigma_max=model.sigma_range[1],
            facts=model.facts,
        )
        for model in engine.models.values()
    ]
    return Models(models=cards)


@router.get(
    "/v1/info",
    response_description="The versions, the device and the limits.",
    responses=problems(NotReady, Draining, DeviceLost),
)
async def info(request: Request) -> Info:
    """Return the device and the reason for it, the versions, and the limits."""
    context = context_of(request)
    model, settings = context.engine.model_info(), context.settings
    return Info(
        version=version(),
        python=platform.python_version(),
        torch=metadata.version("torch"),
        device=model.device,
        device_name=model.device_name,
        dtype=model.dtype,
        fallback_reason=model.fallback_reason,
        model=model.name,
        weights_sha256=model.weights_sha256,
        pixels_per_second=context.engine.pixels_per_second,
        limits=Limits(
            max_body_bytes=settings.max_body_bytes,
            max_pixels=settings.max_pixels,
            max_channels=settings.max_channels,
            formats=list(context.limits.formats),
            queue_requests=settings.queue_requests,
            interleave_images=settings.interleave_images,
            timeout_seconds=settings.timeout_seconds,
            queue_timeout_seconds=settings.queue_timeout_seconds,
            jobs_bytes=settings.jobs_bytes,
            job_timeout_seconds=settings.job_timeout_seconds,
            job_keep_seconds=settings.job_keep_seconds,
        ),
    )
