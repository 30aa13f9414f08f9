"""GET /livez, /readyz, /metrics: for the orchestrator and the monitoring; always open, never behind a key."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from service.api.context import state_of
from service.api.openapi import problems
from service.api.schemas import Health
from service.errors import DeviceLost, Draining, NotReady

router = APIRouter(tags=["health"])


@router.get("/livez", responses=problems(NotReady, Draining, DeviceLost))
async def livez(request: Request) -> Health:
    """Whether the process is alive; 503 when a computation hangs, so that an orchestrator restarts it."""
    if state_of(request).engine.hung:
        raise NotReady("The device has not answered for too long.", retry_after=30)
    return Health()


@router.get("/readyz", responses=problems(NotReady, Draining, DeviceLost))
async def readyz(request: Request) -> Health:
    """Whether new work is accepted; 503 with the reason while loading, draining, or after the device is lost."""
    if trouble := state_of(request).engine.trouble:
        raise trouble
    return Health()


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """All metrics in Prometheus' text form."""
    return Response(generate_latest(state_of(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)
