"""The neighbors of a pixel as responses: JSON, or a heat map as a PNG."""

import numpy as np
from starlette.responses import JSONResponse, Response

from models.model_info import ModelInfo
from service.api.neighbor_schemas import Candidate, Neighbor, Neighbors, Place
from service.api.rendering import MODEL_HEADERS, model_headers
from service.denoising.heat_map import heat_map
from service.denoising.neighbor_job import NeighborResult
from service.imaging.codec import encode
from service.imaging.picture import MEDIA_TYPES

NEIGHBOR_HEADERS = {
    "X-Sigma": "Noise level that the network was told, on the 0-255 scale, or its mean if the level varies.",
    "X-Temperature": "Temperature of the query patch.",
    **MODEL_HEADERS,
}


def neighbors_image(result: NeighborResult, model: ModelInfo) -> Response:
    """Return the heat map over the picture as an 8-bit PNG."""
    patch = model.blocks[result.query.block - 1].patch
    file = encode(heat_map(result.picture, result.neighborhood, patch), "png", "8")
    return Response(file, 200, _headers(result, model), MEDIA_TYPES["png"])


def neighbors_json(result: NeighborResult, model: ModelInfo) -> Response:
    """Return the patches and their weights as JSON."""
    found, query = result.neighborhood, result.query
    body = Neighbors(
        width=result.picture.width,
        height=result.picture.height,
        model=model.name,
        weights_sha256=model.weights_sha256,
        device=model.device,
        sigma=result.sigma,
        block=query.block,
        blocks=len(model.blocks),
        x=query.x,
        y=query.y,
        patch_size=model.blocks[query.block - 1].patch,
        query=Place(x=found.query[0], y=found.query[1]),
        temperature=found.temperature,
        neighbors=[
            Neighbor(
                index=index,
                candidates=[
                    Candidate(x=x, y=y, weight=weight)
                    for (x, y), weight in zip(found.candidates[order].tolist(), weights[order].tolist(), strict=True)
                ],
            )
            for index, weights in enumerate(found.weights, 1)
            for order in (np.argsort(-weights, kind="stable"),)
        ],
    )
    return JSONResponse(body.model_dump(), headers=_headers(result, model))


def _headers(result: NeighborResult, model: ModelInfo) -> dict[str, str]:
    figures = {"x-sigma": f"{result.sigma:.4g}", "x-temperature": f"{result.neighborhood.temperature:.4g}"}
    return {**figures, **model_headers(model)}
