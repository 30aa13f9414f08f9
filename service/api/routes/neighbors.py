"""POST /v1/neighbors: which patches the network averages for one pixel."""

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from models.neighbors.neighborhood import NeighborQuery
from service.api.context import context_of
from service.api.negotiation import accepted
from service.api.neighbor_rendering import NEIGHBOR_HEADERS, neighbors_image, neighbors_json
from service.api.neighbor_schemas import NeighborOptions, Neighbors
from service.api.openapi import ENGINE, IMAGES, image_request, image_response, problems
from service.api.options import parse
from service.api.run_job import run_job
from service.api.upload import Upload
from service.denoising.neighbor_job import NeighborJob, NeighborResult
from service.imaging.picture import MEDIA_TYPES
from service.settings import PHOTO_MODEL
from service.telemetry.request_record import stage

router = APIRouter(tags=["denoise"])


@router.post(
    "/v1/neighbors",
    response_class=Response,
    responses={
        **image_response(
            Neighbors, (MEDIA_TYPES["png"],), NEIGHBOR_HEADERS, "The patches as JSON; with `Accept: image/png`, as a heat map."
        ),
        **problems(*IMAGES, *ENGINE),
    },
    openapi_extra=image_request(NeighborOptions),
)
async def neighbors(request: Request) -> Response:
    """Find the patches that an N3 block averages for one pixel, and their weights: as JSON, or as a heat map over the picture."""
    context = context_of(request)
    context.engine.check()
    accept = accepted(request, prefer_json=True)
    accept.image_format("png", "png")  # refuse what is neither JSON nor PNG

    def prepare(upload: Upload) -> tuple[NeighborJob, Callable[[NeighborResult], Response]]:
        options = parse(NeighborOptions, upload.fields)
        model = context.engine.model_info(options.model)
        job = NeighborJob(
            upload.image,
            model,
            NeighborQuery(options.x, options.y, options.block),
            None if options.sigma == "auto" else options.sigma,
            context.limits,
            partial(stage, context.metrics),
            context.engine.models.get(PHOTO_MODEL),
        )
        return job, lambda result: (neighbors_json if accept.json else neighbors_image)(result, model)

    return await run_job(request, context, prepare)
