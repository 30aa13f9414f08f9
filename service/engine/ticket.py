"""A request's place in the queue, and the run of a model that it waits for."""

import asyncio
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Protocol, Self

from models.model_info import ModelInfo
from models.neighbors.neighborhood import NeighborQuery
from service.engine.fair_queue import Place
from service.imaging.picture import Plane


class NetworkPass(Protocol):
    """One pass of a model over one plane of a request; `service.denoising.pipeline.Pass` is one."""

    @property
    def plane(self) -> Plane:
        """(H, W) or (3, H, W), [0, 1]."""

    @property
    def sigma(self) -> float | Plane | None:
        """Noise standard deviation on the [0, 1] scale, or a map of it; None asks the model to estimate this map."""

    @property
    def index(self) -> int:
        """Number of this pass among the request's passes, counted from 0."""

    @property
    def count(self) -> int:
        """Number of passes of the request."""

    @property
    def query(self) -> NeighborQuery | None:
        """The pixel whose neighbors are asked for instead of a denoised plane; None to denoise."""

    @property
    def factor(self) -> int:
        """The factor by which the model that enlarges pictures enlarges the plane."""


def pass_pixels(each: NetworkPass, model: ModelInfo) -> int:
    """Return how many pixels the model could denoise in the time of a pass."""
    height, width = each.plane.shape[-2:]
    if each.query:
        return model.neighbor_pixels(height, width, each.query.block)
    if each.sigma is None:
        return model.estimate_pixels(height, width)
    return model.network_pixels(height, width)


@dataclass
class PlaneRun:
    """A model's run over the planes of one request, in one or more passes.

    Attributes:
        steps: The computation: it yields the fraction done after each strip and returns the denoised plane of the last pass.
        model: Name of the model.
        pixels: Network pixels of all passes.
        pass_pixels: Network pixels of one pass.
        estimates: Whether the run estimates the noise instead of denoising.
        result: Future for what `steps` returns. Only the event loop may set it.
        on_begun: Callback for the ticket's first strip. Only the event loop may call it.
        fraction: Fraction of the computation that is done.
    """

    steps: Generator[float, None, Plane]
    model: str
    pixels: int
    pass_pixels: int
    estimates: bool
    result: asyncio.Future[Plane]
    on_begun: Callable[[], None]
    fraction: float = 0.0


@dataclass(eq=False, kw_only=True)
class Ticket(Place):
    """A request's place in the queue from admission to response; leaving its context gives the place back.

    The model may pass over it several times, once for each color channel and ensemble member; `pixels` counts all passes.

    Attributes:
        held: Pixels of all images that the request keeps in memory.
        begin_seconds: Maximum time that it waits for its first strip.
        give_back: Called with the ticket when its context ends.
        admitted_at: When the request was admitted, on the monotonic clock.
        begun_at: When its first strip began, on the monotonic clock; None before that.
        computed_at: When its last strip so far ended, on the monotonic clock.
        computing: Seconds the device has spent on it.
        run: The run in progress, if any.
    """

    held: int
    begin_seconds: float
    give_back: Callable[["Ticket"], None]
    admitted_at: float = field(default_factory=time.monotonic)
    begun_at: float | None = None
    computed_at: float | None = None
    computing: float = 0.0
    run: PlaneRun | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.give_back(self)
