"""Admission, deadlines, cancellation and drain in front of the device's one compute thread."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from service.engine.backend import MODEL, Compute, Facts
from service.engine.compute_thread import Ticket, Worker, device_lost
from service.engine.selftest import Plane
from service.errors import (
    DeadlineExceeded,
    Draining,
    InvalidParameter,
    NotReady,
    QueueFull,
    ServiceError,
    TooManyPixels,
    WouldMissDeadline,
)
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import current_record, note_stage

CAUTION = 1.1
"""Admission plans with this much more time than the pace says: what misses its deadline by a second was computed for nothing."""

MakeCompute = Callable[[Settings, Callable[[str], None]], Compute]


class Engine:
    """The gate to the device; everything here runs on the event loop.

    Args:
        settings: Limits and times.
        metrics: Where to count.
        make_compute: Called on the compute thread to load the weights.
    """

    def __init__(self, settings: Settings, metrics: Metrics, make_compute: MakeCompute = Compute.from_settings) -> None:
        self.settings = settings
        self.metrics = metrics
        self.draining = False
        self.worker = worker = Worker(
            lambda: make_compute(settings, lambda kind: metrics.device_errors.labels(kind).inc()),
            settings.interleave_images,
            settings.idle_selftest_seconds,
            metrics,
        )
        metrics.queue_jobs.set_function(lambda: len(worker.queue.places))
        metrics.queue_pixels.set_function(lambda: worker.queue.pixels)
        metrics.in_progress.set_function(lambda: sum(place.started for place in worker.queue.places))
        metrics.rate.set_function(lambda: worker.pace.pixels_per_second or 0.0)
        metrics.ready.set_function(lambda: self.trouble is None)
        metrics.draining.set_function(lambda: self.draining)

    def start(self) -> None:
        """Start loading the weights on the compute thread; returns at once."""
        self.worker.start()

    async def stop(self) -> None:
        """End the compute thread after its present strip; one that hangs is left behind."""
        await asyncio.to_thread(self.worker.stop, 5.0)

    def drain(self) -> None:
        """Refuse new work from now on; admitted work goes on."""
        self.draining = True

    @property
    def facts(self) -> Facts | None:
        """What is being run on what; None until the weights are loaded."""
        return self.worker.facts

    def loaded_facts(self, model: str = MODEL) -> Facts:
        """What is known of a model.

        Raises:
            ServiceError: If the weights are not loaded.
            InvalidParameter: If there is no such model here.
        """
        if self.facts is None:
            raise self.trouble or NotReady("The weights are being loaded.", retry_after=5)
        if model not in self.worker.models:
            raise InvalidParameter(f"The models here are {', '.join(self.worker.models)}.", parameters=["model"])
        return self.worker.models[model]

    @property
    def pixels_per_second(self) -> float | None:
        """The device's measured rate."""
        return self.worker.pace.pixels_per_second

    @property
    def lost(self) -> bool:
        """Whether the device is lost for good, so that the process has to end."""
        return self.worker.state == "lost"

    @property
    def busy(self) -> bool:
        """Whether admitted work is left."""
        return bool(self.worker.queue.places)

    @property
    def hung(self) -> bool:
        """Whether the present strip, self-test or warm-up takes longer than any should."""
        return self.worker.strip_seconds > self.settings.hang_seconds

    @property
    def trouble(self) -> ServiceError | None:
        """Why no work is accepted now; None when ready."""
        if self.draining:
            return Draining("The service is shutting down; another instance may answer.", retry_after=5)
        if self.hung:
            return NotReady("The device has not answered for too long.", retry_after=30)
        if self.lost:
            return device_lost()
        if self.worker.state == "loading":
            return NotReady("The weights are being loaded.", retry_after=5)
        return None

    def check(self) -> None:
        """Refuse at the door, before the body is read, what could not be admitted anyway.

        Raises:
            Refused: If the service is not ready, draining, lost, or its queue is full.
        """
        if trouble := self.trouble:
            raise trouble
        if len(self.worker.queue.places) >= self.settings.queue_requests:
            raise QueueFull("As many requests wait as may wait.", **self._backlog())

    def admit(self, pixels: int, arrived: float, *, held: int | None = None) -> Ticket:
        """Give a request a place in the queue, if there is room and it and all admitted before it will end in time.

        Args:
            pixels: Network pixels: the image's, times the runs of the network that it needs; 0 for none.
            arrived: When the request came, on the monotonic clock; its deadline counts from there.
            held: Pixels of all its pictures that will be in memory; those of the network unless given.

        Returns:
            The place, to be used as a context manager that gives it back: when the answer is encoded, as memory is held so long.

        Raises:
            Refused: As `check`, or if a deadline would be missed, the request's own or an admitted one's.
            TooManyPixels: If the image alone takes longer than a request may.
        """
        self.check()
        now, pace = time.monotonic(), self.worker.pace
        held = pixels if held is None else held
        if self._held() and self._held() + held > self.settings.queue_pixels:
            raise QueueFull("As many pixels are held as may be held.", **self._backlog())
        ticket = Ticket(pixels, held, arrived + self.settings.timeout_seconds, self._give_back)
        if CAUTION * pace.seconds(pixels) > self.settings.timeout_seconds:
            limit = int((pace.pixels_per_second or 0) * self.settings.timeout_seconds / CAUTION)
            raise TooManyPixels("At the device's pace the image takes longer than a request may.", limit_pixels=limit)
        for ahead, deadline in self.worker.finishes(pixels, ticket.deadline):
            if now + CAUTION * pace.seconds(ahead) > deadline:
                raise WouldMissDeadline("With the work admitted before, a deadline would be missed.", **self._backlog())
        self.worker.add(ticket)
        current_record().pixels = held
        self.metrics.input_pixels.observe(held)
        return ticket

    async def denoise(self, ticket: Ticket, noisy: Plane, sigma: float, model: str = MODEL) -> Plane:
        """Denoise one plane (H, W), [0, 1], with sigma on the [0, 1] scale; the result is not clipped.

        When the caller is cancelled, the device stops within one strip.

        Raises:
            DeadlineExceeded: If the request's deadline passes, or its computation does not begin in time.
            DeviceFailure: If the device fails on it.
            DeviceLost: If the device is lost meanwhile.
        """
        loop = asyncio.get_running_loop()
        end = ticket.deadline - time.monotonic() + loop.time()
        first = end if ticket.begun_at else min(end, loop.time() + self.settings.queue_timeout_seconds)
        try:
            # The timer runs here and not in the thread, so that even a strip that hangs cannot hold an answer back.
            async with asyncio.timeout_at(first) as timer:

                def begun() -> None:
                    if not result.done():
                        timer.reschedule(end)

                result = self.worker.submit(ticket, noisy, sigma, model, begun)
                return await result
        except TimeoutError:
            raise DeadlineExceeded("The result was not ready within the time limit.") from None

    def _give_back(self, ticket: Ticket) -> None:
        self.worker.remove(ticket)
        record = current_record()
        note_stage(self.metrics, record, "queue", (ticket.begun_at or time.monotonic()) - ticket.admitted)
        note_stage(self.metrics, record, "infer", ticket.computing)

    def _held(self) -> int:
        return sum(place.held for place in self.worker.queue.places if isinstance(place, Ticket))

    def _backlog(self) -> dict[str, Any]:
        """What a refusal says of the work ahead."""
        pixels = self.worker.queue.pixels
        return {"retry_after": self.worker.pace.seconds(pixels), "queued_pixels": round(pixels)}
