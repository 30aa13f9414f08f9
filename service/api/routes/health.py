"""GET /livez, /readyz and /metrics, for orchestrators and monitoring; never behind an API key."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from service.api.context import context_of
from service.api.openapi import problems
from service.api.schemas import Health
from service.errors import DeviceLost, Draining, NotReady

router = APIRouter(tags=["health"])


@router.get("/livez", response_description="The process is alive.", responses=problems(NotReady, Draining, DeviceLost))
async def livez(request: Request) -> Health:
    """Tell whether the process is alive: 503 when a computation hangs, so that an orchestrator restarts it."""
    if context_of(request).engine.hung:
        raise NotReady.hung()
    return Health()


@router.get("/readyz", response_description="New work is accepted.", responses=problems(NotReady, Draining, DeviceLost))
async def readyz(request: Request) -> Health:
    """Tell whether new work is accepted: 503 with the reason while loading, draining or hanging, or after the device is lost."""
    if trouble := context_of(request).trouble:
        raise trouble
    return Health()


@router.get(
    "/metrics",
    response_class=Response,
    response_description="The metrics.",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Return all metrics in the Prometheus text format."""
    return Response(generate_latest(context_of(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)
