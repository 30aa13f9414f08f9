"""GET /v1/models and /v1/info: what can be asked for, and what runs here."""

from fastapi import APIRouter, Request

from service import version
from service.api.context import state_of
from service.api.openapi import problems
from service.api.schemas import Info, Limits, ModelCard, Models
from service.errors import DeviceLost, Draining, NotReady

router = APIRouter(tags=["about"])


@router.get("/v1/models", responses=problems(NotReady, Draining, DeviceLost))
async def models(request: Request) -> Models:
    """The models that can be asked for, with the noise levels they are for and how they were trained."""
    engine = state_of(request).engine
    engine.loaded_facts()
    cards = [
        ModelCard(
            name=facts.model,
            weights=facts.weights,
            weights_sha256=facts.weights_sha256,
            device=facts.device,
            sigma_min=facts.sigma_range[0],
            sigma_max=facts.sigma_range[1],
            facts=facts.weights_facts,
        )
        for facts in engine.worker.models.values()
    ]
    return Models(models=cards)


@router.get("/v1/info", responses=problems(NotReady, Draining, DeviceLost))
async def info(request: Request) -> Info:
    """Device and why, versions, limits."""
    state = state_of(request)
    facts, settings = state.engine.loaded_facts(), state.settings
    return Info(
        version=version(),
        python=facts.python_version,
        torch=facts.torch_version,
        device=facts.device,
        device_name=facts.device_name,
        dtype=facts.dtype,
        fallback_reason=facts.fallback_reason,
        model=facts.model,
        weights_sha256=facts.weights_sha256,
        pixels_per_second=state.engine.pixels_per_second,
        limits=Limits(
            max_body_bytes=settings.max_body_bytes,
            max_pixels=settings.max_pixels,
            formats=list(state.limits.formats),
            queue_requests=settings.queue_requests,
            interleave_images=settings.interleave_images,
            timeout_seconds=settings.timeout_seconds,
            queue_timeout_seconds=settings.queue_timeout_seconds,
        ),
    )
