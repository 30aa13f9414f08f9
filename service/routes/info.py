"""GET /v1/models and /v1/info: what can be asked for, and what runs here."""

from fastapi import APIRouter, Request

from service.errors import DeviceLost, Draining, NotReady
from service.openapi import problems
from service.schemas import Info, Limits, ModelCard, Models
from service.state import state_of
from service.version import version

router = APIRouter(tags=["about"])


@router.get("/v1/models", responses=problems(NotReady, Draining, DeviceLost))
async def models(request: Request) -> Models:
    """The models that can be asked for, with the noise levels they are for and how they were trained."""
    facts = state_of(request).engine.loaded_facts()
    low, high = facts.sigma_range
    card = ModelCard(
        name=facts.model,
        weights=facts.weights,
        weights_sha256=facts.weights_sha256,
        sigma_min=low,
        sigma_max=high,
        facts=facts.weights_facts,
    )
    return Models(models=[card])


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
