"""The compute thread: strip by strip, whatever image the fair queue names, as long as somebody waits for it."""

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Self

from service import version
from service.engine.backend import Compute, Facts
from service.engine.fair_queue import FairQueue, Place
from service.engine.selftest import Plane
from service.engine.throughput import Pace
from service.errors import DeviceFailure, DeviceLost, InternalError, ServiceError
from service.telemetry.logs import log
from service.telemetry.metrics import Metrics


def device_lost() -> DeviceLost:
    """A fresh error each time: one that is raised again and again would collect tracebacks."""
    return DeviceLost("The compute device is lost; the service is about to end.", retry_after=30)


class Ticket(Place):
    """A request's place in the queue, from admission to answer; leaving its context gives the place back.

    The network may run over it several times, for colors or an ensemble; its pixels count all of these runs.
    """

    def __init__(self, pixels: int, held: int, deadline: float, give_back: Callable[["Ticket"], None]) -> None:
        super().__init__(pixels, deadline)
        self.held = held
        self.admitted = time.monotonic()
        self.begun_at: float | None = None
        self.computing = 0.0
        self.run: Run | None = None
        self._give_back = give_back

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._give_back(self)


@dataclass
class Run:
    """One run of the network over one plane.

    Attributes:
        steps: The computation.
        model: What computes.
        pixels: Of the plane.
        result: Belongs to the event loop, as does the call of `on_begun` at the first strip of the ticket.
        fraction: Share that is done.
    """

    steps: Generator[float, None, Plane]
    model: str
    pixels: int
    result: "asyncio.Future[Plane]"
    on_begun: Callable[[], None]
    fraction: float = 0.0


class Worker:
    """One thread that owns the device, and the queue in front of it.

    Tickets are added and removed on the event loop; the thread takes the next one between any two strips, so a removed
    ticket costs at most the strip in progress.

    Args:
        make_compute: Loads the weights; called on the thread.
        interleave: See `FairQueue`.
        idle_seconds: Idle time after which the self-test runs again.
        metrics: Where to count.
    """

    def __init__(self, make_compute: Callable[[], Compute], interleave: int, idle_seconds: float, metrics: Metrics) -> None:
        self.queue = FairQueue(interleave)
        self.pace = Pace()
        self.facts: Facts | None = None
        self.models: dict[str, Facts] = {}
        self.state: Literal["loading", "ready", "lost"] = "loading"
        self._make_compute = make_compute
        self._idle_seconds = idle_seconds
        self._metrics = metrics
        self._changed = threading.Condition()
        self._stopping = False
        self._strip_began: float | None = None

    def start(self) -> None:
        """Start the thread; called on the event loop, which gets all results."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Ask the thread to end after its present strip and wait so long for it."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(seconds)

    @property
    def strip_seconds(self) -> float:
        """How long the present strip, self-test or warm-up has been running; 0 between them."""
        began = self._strip_began
        return 0.0 if began is None else time.monotonic() - began

    def finishes(self, pixels: int, deadline: float) -> list[tuple[float, float]]:
        """See `FairQueue.finishes`."""
        with self._changed:
            return self.queue.finishes(pixels, deadline)

    def add(self, ticket: Ticket) -> None:
        """Put a ticket into the queue; it is not computed before `submit`."""
        with self._changed:
            self.queue.add(ticket)

    def remove(self, ticket: Ticket) -> None:
        """Take a ticket out, done or not."""
        with self._changed:
            self.queue.remove(ticket)

    def submit(
        self, ticket: Ticket, noisy: Plane, sigma: float, model: str, on_begun: Callable[[], None]
    ) -> "asyncio.Future[Plane]":
        """Give a ticket a plane to denoise; `on_begun` is called on the event loop if its first strip comes."""
        run = Run(self._compute.steps(noisy, sigma, model), model, noisy.size, self._loop.create_future(), on_begun)
        with self._changed:
            if self.state == "lost":
                raise device_lost()
            ticket.run, ticket.runnable = run, True
            self._changed.notify()
        return run.result

    # --- On the thread ---

    def _run(self) -> None:
        try:
            self._compute = self._make_compute()
            self._describe(self._compute.models)
            self._self_test()
            with self._watched():
                pixels, seconds = self._compute.warm_up()
            self.pace.note(pixels, seconds)
            self.state = "ready"
            log().info("ready", pixels_per_second=round(self.pace.pixels_per_second or 0))
            while not self._stopping:
                ticket = self._next()
                if ticket and ticket.run:
                    self._strip(ticket, ticket.run)
                elif not self._stopping:
                    self._self_test()
        except Exception as error:
            self._lose(error)

    def _describe(self, models: dict[str, Facts]) -> None:
        facts = next(iter(models.values()))
        self.models, self.facts = models, facts
        metrics = self._metrics
        metrics.build.labels(version(), facts.torch_version, facts.python_version).set(1)
        for each in models.values():
            metrics.model.labels(each.model, each.weights_sha256 or "", each.dtype).set(1)
        metrics.device.labels(facts.device, facts.device_name, facts.fallback_reason or "").set(1)
        metrics.gpu_allocated.set_function(lambda: self._compute.memory()[0])
        metrics.gpu_reserved.set_function(lambda: self._compute.memory()[1])
        level = log().warning if facts.fallback_reason else log().info
        level("device", device=facts.device, name=facts.device_name, fallback_reason=facts.fallback_reason)

    def _next(self) -> Ticket | None:
        """Wait for a ticket that can be computed; None after so much idle time, or when stopping."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self.queue.take(), self._idle_seconds)
            place = self.queue.take()
            return place if isinstance(place, Ticket) else None

    def _strip(self, ticket: Ticket, run: Run) -> None:
        before, outcome = run.fraction, None
        with self._watched() as began:
            if ticket.begun_at is None:
                ticket.begun_at = began
                self._loop.call_soon_threadsafe(run.on_begun)
            try:
                run.fraction = next(run.steps)
            except StopIteration as end:
                run.fraction, outcome = 1.0, end.value
            except ServiceError as error:
                outcome = error
            except Exception:
                log().exception("computation failed")
                outcome = InternalError("The computation failed.")
        self._account(ticket, run.model, max(0.0, run.fraction - before) * run.pixels, time.monotonic() - began)
        if outcome is not None:
            self._settle(ticket, run, outcome)
        if isinstance(outcome, DeviceFailure):
            log().warning("device failure", error=outcome.code, exc_info=outcome.__cause__)
            # One failure may be the image's own; a device that fails the self-test as well is lost.
            self._self_test()

    def _account(self, ticket: Ticket, model: str, pixels: float, seconds: float) -> None:
        ticket.computing += seconds
        self.pace.note(pixels, seconds)
        with self._changed:
            self.queue.serve(ticket, pixels)
        self._metrics.strip_seconds.observe(seconds)
        self._metrics.pixels.labels(model, self.models[model].device).inc(pixels)

    def _settle(self, ticket: Ticket, run: Run, outcome: "Plane | ServiceError") -> None:
        """Hand the outcome of a run to the event loop."""

        def on_loop() -> None:
            # A caller that left has cancelled its future; setting that one would raise inside the loop.
            if run.result.done():
                return
            if isinstance(outcome, ServiceError):
                run.result.set_exception(outcome)
            else:
                run.result.set_result(outcome)

        with self._changed:
            ticket.run, ticket.runnable = None, False
        self._loop.call_soon_threadsafe(on_loop)

    def _self_test(self) -> None:
        self._metrics.selftest.set(0)
        with self._watched():
            self._compute.check()
        self._metrics.selftest.set(1)

    @contextmanager
    def _watched(self) -> Iterator[float]:
        """Let the event loop see how long this computation takes, from the moment that is yielded."""
        self._strip_began = began = time.monotonic()
        try:
            yield began
        finally:
            self._strip_began = None

    def _lose(self, error: Exception) -> None:
        """Answer everything that waits, and let the process end: only a new one can get the device back."""
        log().error("device lost", reason=str(error), exc_info=error)
        with self._changed:
            self.state = "lost"
            waiting = list(self.queue.places)
        for place in waiting:
            if isinstance(place, Ticket) and place.run:
                self._settle(place, place.run, device_lost())
