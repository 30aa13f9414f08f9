"""Options of POST /v1/neighbors and the body of its response."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.api.schemas import Sigma
from service.settings import DEFAULT_MODEL

_DIGITS = re.compile(r"[0-9]+")


def _whole_number(value: object) -> object:
    """Refuse what pydantic would take for a whole number, such as 1.0 or 1_0."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("not a whole number")
    return value


_WHOLE = BeforeValidator(_whole_number)


class NeighborOptions(BaseModel):
    """Options for POST /v1/neighbors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    x: Annotated[int, Field(ge=0, description="Column of the pixel, counted from 0."), _WHOLE]
    y: Annotated[int, Field(ge=0, description="Row of the pixel, counted from 0."), _WHOLE]
    block: Annotated[
        int, Field(ge=1, description="Number of the N3 block, counted from 1. n3net has two, the other models have one."), _WHOLE
    ] = 1
    sigma: Sigma = "auto"
    model: Annotated[Literal["n3unet", "n3net", "photo"], Field(description="Name of the model; only these have N3 blocks.")] = (
        DEFAULT_MODEL
    )


class Place(BaseModel):
    """The top left corner of a patch, in pixels; a patch at the border may begin outside the picture."""

    x: int
    y: int


class Candidate(Place):
    """A patch and its weight."""

    weight: float


class Neighbor(BaseModel):
    """One of the k neighbors: a weighted average of patches."""

    index: int = Field(description="Number of the neighbor, counted from 1.")
    candidates: list[Candidate] = Field(description="All candidates, the heaviest first. Their weights sum to 1.")


class Neighbors(BaseModel):
    """Result of POST /v1/neighbors for a caller that accepts JSON."""

    width: int
    height: int
    model: str
    weights_sha256: str | None
    device: str
    sigma: float = Field(description="Noise level that the network was told, on the 0-255 scale, or its mean if it varies.")
    block: int
    blocks: int = Field(description="Number of N3 blocks in the model.")
    x: int
    y: int
    patch_size: int = Field(description="Pixels along each side of a patch.")
    query: Place = Field(description="The patch whose center is the nearest one to the pixel.")
    temperature: float = Field(description="Temperature of the softmax: the lower it is, the fewer patches have large weights.")
    neighbors: list[Neighbor]
