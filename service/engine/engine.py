"""Admission, deadlines, cancellation and draining: the only entrance to the device and its one compute thread."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.model_info import ModelInfo
from service.engine.backend import Backend
from service.engine.compute_thread import ComputeThread
from service.engine.throughput import Throughput
from service.engine.ticket import NetworkPass, Ticket
from service.errors import (
    DeadlineExceeded,
    DeviceLost,
    Draining,
    InvalidParameter,
    NotReady,
    QueueFull,
    ServiceError,
    TooManyPixels,
    WouldMissDeadline,
)
from service.imaging.picture import Plane
from service.settings import DEFAULT_MODEL, Settings
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import current_record, note_stage

SAFETY_FACTOR = 1.1
"""Admission multiplies predicted times by this: a result that misses its deadline by a second was computed for nothing."""

LoadBackend = Callable[[Settings, Callable[[str], None]], Backend]
"""Loads the models; takes the settings and a function to call with the kind of each device failure."""


class Engine:
    """The gate to the device. All methods run on the event loop.

    Args:
        settings: Limits and times.
        metrics: The metrics to update.
        load_backend: Loads the models; called on the compute thread.
    """

    def __init__(self, settings: Settings, metrics: Metrics, load_backend: LoadBackend = Backend.load) -> None:
        self.settings = settings
        self.metrics = metrics
        self.draining = False
        self._thread = thread = ComputeThread(
            lambda: load_backend(settings, lambda kind: metrics.device_errors.labels(kind).inc()),
            settings.interleave_images,
            settings.idle_selftest_seconds,
            metrics,
        )
        metrics.queue_jobs.set_function(lambda: len(thread.queue.places))
        metrics.queue_pixels.set_function(lambda: thread.queue.pixels)
        metrics.in_progress.set_function(lambda: sum(ticket.started for ticket in thread.queue.places))
        metrics.rate.set_function(lambda: self.pixels_per_second or 0.0)
        metrics.ready.set_function(lambda: self.trouble is None)
        metrics.draining.set_function(lambda: self.draining)

    def start(self) -> None:
        """Start loading the models on the compute thread, and return at once."""
        self._thread.start()

    async def stop(self) -> None:
        """End the compute thread after the strip in progress; abandon the thread if that strip hangs."""
        await asyncio.to_thread(self._thread.stop, 5.0)

    def abandon(self) -> None:
        """Ask the compute thread to end after the strip in progress, and do not wait for it."""
        self._thread.stop(0.0)

    def drain(self) -> None:
        """Refuse new work from now on; admitted work continues."""
        self.draining = True

    @property
    def models(self) -> Mapping[str, ModelInfo]:
        """The models that are loaded, the default first; empty until they are loaded."""
        return self._thread.models

    def model_info(self, name: str = DEFAULT_MODEL) -> ModelInfo:
        """Return the facts about a model.

        Raises:
            Refused: If the models are not loaded.
            InvalidParameter: If there is no such model here.
        """
        if not self.models:
            raise self.trouble or NotReady.loading()
        if name not in self.models:
            detail = f"The model {name} is not available here. The available models are {', '.join(self.models)}."
            raise InvalidParameter(detail, parameters=["model"])
        return self.models[name]

    @property
    def throughput(self) -> Throughput:
        """How fast the device computes the default model."""
        return self.throughput_of(DEFAULT_MODEL)

    def throughput_of(self, model: str) -> Throughput:
        """Return how fast the device computes a model."""
        return self._thread.throughputs[model]

    @property
    def pixels_per_second(self) -> float | None:
        """The measured rate of the default model; None until it is measured."""
        return self.throughput.pixels_per_second

    @property
    def tickets(self) -> Sequence[Ticket]:
        """The admitted tickets whose places have not been given back, in the order in which they are due."""
        return self._thread.queue.places

    @property
    def busy(self) -> bool:
        """Whether admitted work is left."""
        return bool(self.tickets)

    def backlog_seconds(self) -> float:
        """Return how long the device will take for the work that is admitted and not yet computed."""
        return self.throughput.seconds_for(self._thread.queue.work)

    def seconds_left(self, ticket: Ticket) -> float:
        """Return how long the device will take to finish an admitted request, if no other one arrives; 0 if no rate is known."""
        return self._thread.seconds_left(ticket)

    @property
    def lost(self) -> bool:
        """Whether the device is lost for good, so that the process has to end."""
        return self._thread.state == "lost"

    @property
    def hung(self) -> bool:
        """Whether the current strip, self-test or warm-up takes longer than any should."""
        return self._thread.strip_seconds > self.settings.hang_seconds

    @property
    def trouble(self) -> ServiceError | None:
        """Why no work is accepted now; None when ready."""
        if self.draining:
            return Draining("The service is shutting down; another instance may respond.", retry_after=5)
        if self.hung:
            return NotReady.hung()
        if self.lost:
            return DeviceLost()
        if self._thread.state == "loading":
            return NotReady.loading()
        return None

    def check(self) -> None:
        """Refuse, before the body is read, a request that could not be admitted anyway.

        Raises:
            Refused: If the service is not ready, draining, or lost, or if its queue is full.
        """
        if trouble := self.trouble:
            raise trouble
        if len(self.tickets) >= self.settings.queue_requests:
            raise QueueFull("The maximum number of requests is in progress.", **self._backlog())

    def admit(
        self,
        pixels: int,
        arrived: float,
        *,
        held: int | None = None,
        model: str = DEFAULT_MODEL,
        passes: int = 1,
        image_pixels: int | None = None,
        timeout: float | None = None,
    ) -> Ticket:
        """Give a request a place in the queue if there is room, and if it and all requests admitted before it will end in time.

        Args:
            pixels: Network pixels of all passes of the model; 0 if it needs none.
            arrived: When the request arrived, on the monotonic clock; its deadline counts from then.
            held: Pixels of all images that the request keeps in memory; `pixels` by default.
            model: One of `models`.
            passes: Number of passes of the model.
            image_pixels: Pixels of the image, for the limit that a refusal states; `pixels` by default.
            timeout: Maximum duration of a background job in seconds, which may also wait that long for its first strip; by
                default the settings say both.

        Returns:
            The ticket, a context manager that gives the place back. Leave it when the response is encoded: memory is held until
            then.

        Raises:
            Refused: As `check`, or if the request itself or an admitted one would miss its deadline.
            TooManyPixels: If the image alone would take longer than a request may even at the best rate that the model has had.
        """
        self.check()
        now, throughput = time.monotonic(), self.throughput_of(model)
        held = pixels if held is None else held
        held_before = sum(ticket.held for ticket in self.tickets)
        if held_before and held_before + held > self.settings.queue_pixels:
            raise QueueFull("The requests in progress hold the maximum number of pixels.", **self._backlog())
        seconds = timeout or self.settings.timeout_seconds
        deadline, allowed = arrived + seconds, seconds / SAFETY_FACTOR
        if (least := throughput.least_seconds_for(pixels)) > allowed:
            raise TooManyPixels(
                "Even at its best speed, this device would exceed the time limit with this image and these options. "
                "The commands `n3denoise denoise` and `n3denoise upscale` have no time limit.",
                limit_pixels=int((pixels if image_pixels is None else image_pixels) * allowed / least),
            )
        if throughput.seconds_for(pixels, passes) > allowed:
            wait = self._thread.measure_again(model)
            raise WouldMissDeadline("At its present speed, this device would exceed the time limit.", **self._backlog(wait))
        cost = throughput.cost(pixels, passes, of=self.throughput)
        for ahead, due in self._thread.finishes(pixels * cost, deadline):
            if now + SAFETY_FACTOR * self.throughput.seconds_for(ahead) > due:
                raise WouldMissDeadline("With the work already admitted, a request would miss its deadline.", **self._backlog())
        begin_seconds = timeout or self.settings.queue_timeout_seconds
        ticket = Ticket(
            pixels=pixels, cost=cost, deadline=deadline, held=held, begin_seconds=begin_seconds, give_back=self._give_back
        )
        self._thread.add(ticket)
        current_record().pixels = held
        self.metrics.input_pixels.observe(held)
        return ticket

    async def denoise(
        self, ticket: Ticket, first: NetworkPass, resume: Callable[[Plane], NetworkPass], model: str = DEFAULT_MODEL
    ) -> Plane:
        """Run a model over the planes of one request. If the caller is cancelled, the device stops within one strip.

        Args:
            ticket: The request's ticket.
            first: The first pass of the model.
            resume: Takes the denoised plane of a pass that is not the last and returns the next pass; called on the compute
                thread.
            model: One of `models`.

        Returns:
            The denoised plane (H, W) of the last pass, not clipped, or the noise level map if the pass asks for an estimate.

        Raises:
            DeadlineExceeded: If the request's deadline passes, or if its computation does not begin in time.
            DeviceFailure: If the device fails on it.
            DeviceLost: If the device is lost in the meantime.
        """
        loop = asyncio.get_running_loop()
        end = ticket.deadline - time.monotonic() + loop.time()
        begin_by = end if ticket.begun_at else min(end, loop.time() + ticket.begin_seconds)
        try:
            # The timer runs here and not on the compute thread, so that even a strip that hangs cannot delay the response.
            async with asyncio.timeout_at(begin_by) as timer:
                timers = [timer]

                def begun() -> None:
                    if not result.done():
                        timers[0].reschedule(end)

                result = self._thread.submit(ticket, first, resume, model, begun)
                return await result
        except TimeoutError:
            raise DeadlineExceeded from None
        finally:
            # A canceled task refers to its exception, the traceback to this frame, and the timer to the task. In such a
            # circle, the pictures would stay in memory until garbage is collected.
            timers.clear()
            del timer

    def _give_back(self, ticket: Ticket) -> None:
        self._thread.remove(ticket)
        record = current_record()
        note_stage(self.metrics, record, "queue", (ticket.begun_at or time.monotonic()) - ticket.admitted_at)
        note_stage(self.metrics, record, "infer", ticket.computing)

    def _backlog(self, wait: float = 0.0) -> dict[str, Any]:
        """Return what a refusal says about the work ahead: try again these seconds after it is done."""
        return {"retry_after": self.backlog_seconds() + wait, "queued_pixels": round(self._thread.queue.pixels)}
