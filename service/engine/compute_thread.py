"""The compute thread: it computes one strip at a time, of whichever image the fair queue names next."""

import asyncio
import platform
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from models.model_info import ModelInfo
from models.steps import scaled
from service import version
from service.engine.backend import Backend
from service.engine.fair_queue import FairQueue
from service.engine.throughput import Throughput
from service.engine.ticket import NetworkPass, PlaneRun, Ticket, pass_pixels
from service.errors import DeviceFailure, DeviceLost, InternalError, ServiceError
from service.imaging.picture import Plane
from service.settings import DEFAULT_MODEL
from service.telemetry.logs import log
from service.telemetry.metrics import Metrics

MEASURE_SECONDS = 30.0
"""Minimum time between two measurements of doubtful rates, so that requests cannot keep the device busy with them."""


class ComputeThread:
    """The one thread that owns the device, and the queue in front of it.

    The event loop adds and removes tickets. The thread takes the next ticket between any two strips, so a removed ticket
    costs at most the strip in progress.

    Args:
        load_backend: Loads the models; called on the thread.
        interleave: See `FairQueue`.
        idle_seconds: Idle time after which the self-test runs again.
        metrics: The metrics to update.

    Attributes:
        queue: The admitted tickets.
        throughputs: How fast the device computes each model, by its name.
        models: The models that are loaded, the default first; empty until they are loaded.
        state: "loading" until the first self-test passes, then "ready"; "lost" after the device is lost.
    """

    def __init__(self, load_backend: Callable[[], Backend], interleave: int, idle_seconds: float, metrics: Metrics) -> None:
        self.queue: FairQueue[Ticket] = FairQueue(interleave)
        self.throughputs = {DEFAULT_MODEL: Throughput()}
        self.models: Mapping[str, ModelInfo] = {}
        self.state: Literal["loading", "ready", "lost"] = "loading"
        self._load_backend = load_backend
        self._idle_seconds = idle_seconds
        self._metrics = metrics
        self._changed = threading.Condition()
        self._stopping = False
        self._doubted: set[str] = set()
        self._measure_at = 0.0  # on the monotonic clock
        self._strip_began: float | None = None

    def start(self) -> None:
        """Start the thread. Call this on the event loop, which will receive all results."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Ask the thread to end after the strip in progress, and wait at most this long for it."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(seconds)

    @property
    def strip_seconds(self) -> float:
        """How long the current strip, self-test or warm-up has been running; 0 between them."""
        began = self._strip_began
        return 0.0 if began is None else time.monotonic() - began

    def finishes(self, work: float, deadline: float) -> list[tuple[float, float]]:
        """Predict what would happen if an image with the given work arrived now; see `FairQueue.finishes`."""
        with self._changed:
            return self.queue.finishes(work, deadline)

    def seconds_left(self, ticket: Ticket) -> float:
        """Return how long the device will take for a ticket and for those ahead of it; 0 if no rate is known."""
        with self._changed:
            return sum(self._own_seconds_left(each) for each in self.queue.places if each.due <= ticket.due)

    def _own_seconds_left(self, ticket: Ticket) -> float:
        if (run := ticket.run) and not run.estimates:  # another model than it was admitted for may compute it
            return self.throughputs[run.model].seconds_for((1 - run.fraction) * run.pixels)
        return self.throughputs[DEFAULT_MODEL].seconds_for(ticket.left * ticket.cost)

    def measure_again(self, model: str) -> float:
        """Measure the rate of a model again as soon as nothing is runnable; return how long to wait for that at least."""
        with self._changed:
            self._doubted.add(model)
            self._changed.notify()
        return max(0.0, self._measure_at - time.monotonic())

    def add(self, ticket: Ticket) -> None:
        """Add a ticket to the queue; nothing is computed for it before `submit`."""
        with self._changed:
            self.queue.add(ticket)

    def remove(self, ticket: Ticket) -> None:
        """Remove a ticket from the queue, finished or not, and let go of the planes of its run."""
        with self._changed:
            self.queue.remove(ticket)
        ticket.run = None

    def submit(
        self, ticket: Ticket, first: NetworkPass, resume: Callable[[Plane], NetworkPass], model: str, on_begun: Callable[[], None]
    ) -> asyncio.Future[Plane]:
        """Give a ticket its planes to denoise.

        Args:
            ticket: A ticket in the queue that has no run in progress.
            first: The first pass.
            resume: Takes the denoised plane of a pass that is not the last and returns the next pass; called on the thread.
            model: One of `models`.
            on_begun: Called on the event loop when the ticket's first strip begins.

        Returns:
            A future for what the last pass returns; see `Backend.steps`.

        Raises:
            DeviceLost: If the device is lost.
        """
        steps = self._run_passes(first, resume, model)
        size = pass_pixels(first, self.models[model])
        run = PlaneRun(steps, model, size * first.count, size, first.sigma is None, self._loop.create_future(), on_begun)
        with self._changed:
            if self.state == "lost":
                raise DeviceLost
            if not run.estimates:  # only now it is certain which model computes how many passes
                cost = self.throughputs[model].cost(run.pixels, first.count, of=self.throughputs[DEFAULT_MODEL])
                self.queue.revise(ticket, run.pixels, cost)
            ticket.run, ticket.runnable = run, True
            self._changed.notify()
        return run.result

    # --- On the thread ---

    def _run(self) -> None:
        try:
            self._backend = self._load_backend()
            self._announce(self._backend)
            self._self_test()
            self._time_pass(DEFAULT_MODEL)  # slow, because it is the first one
            self._time_pass(DEFAULT_MODEL)
            self.state = "ready"
            if not self._stopping:  # as when the server could not bind its port
                log().info("ready", pixels_per_second=round(self.throughputs[DEFAULT_MODEL].pixels_per_second or 0))
            while not self._stopping:
                ticket = self._next()
                if ticket and ticket.run:
                    self._compute_strip(ticket, ticket.run)
                elif self._may_measure():
                    self._measure_doubted()
                elif not self._stopping:
                    self._self_test()
                    self._doubt_slow_models()
        except Exception as error:
            self._lose(error)

    def _announce(self, backend: Backend) -> None:
        for name in backend.models:
            self.throughputs.setdefault(name, Throughput(assumed=self.throughputs[DEFAULT_MODEL]))
        self.models = backend.models
        metrics, default = self._metrics, self.models[DEFAULT_MODEL]
        metrics.start_counters(self.models)
        metrics.build.labels(version(), backend.torch_version, platform.python_version()).set(1)
        for model in self.models.values():
            metrics.model.labels(model.name, model.weights_sha256 or "", model.dtype).set(1)
        metrics.device.labels(default.device, default.device_name, default.fallback_reason or "").set(1)
        metrics.gpu_allocated.set_function(lambda: backend.memory()[0])
        metrics.gpu_reserved.set_function(lambda: backend.memory()[1])
        level = log().warning if default.fallback_reason else log().info
        level("device", device=default.device, name=default.device_name, fallback_reason=default.fallback_reason)

    def _run_passes(
        self, first: NetworkPass, resume: Callable[[Plane], NetworkPass], model: str
    ) -> Generator[float, None, Plane]:
        """Compute one pass after another; yield the fraction of all passes after each strip."""
        current = first
        while True:
            steps = self._backend.steps(current.plane, current.sigma, model, current.query, current.factor)
            denoised = yield from scaled(steps, current.index, current.count)
            if current.index + 1 == current.count:
                return denoised
            yield (current.index + 1) / current.count
            current = resume(denoised)

    def _next(self) -> Ticket | None:
        """Wait for a runnable ticket; return None after the idle time, for a measurement, or when stopping."""
        with self._changed:
            unmeasured = max(0.0, self._measure_at - time.monotonic()) if self._doubted else self._idle_seconds
            seconds = min(self._idle_seconds, unmeasured)
            self._changed.wait_for(lambda: self._stopping or self._may_measure() or self.queue.take(), seconds)
            return self.queue.take()

    def _compute_strip(self, ticket: Ticket, run: PlaneRun) -> None:
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
        self._account(ticket, run, max(0.0, run.fraction - before) * run.pixels, time.monotonic() - began)
        if outcome is not None:
            self._settle(ticket, run, outcome)
        if isinstance(outcome, DeviceFailure):
            self._test_after(outcome)

    def _account(self, ticket: Ticket, run: PlaneRun, pixels: float, seconds: float) -> None:
        ticket.computing += seconds
        ticket.computed_at = time.monotonic()
        self.throughputs[run.model].add(pixels, seconds, pass_pixels=run.pass_pixels)
        with self._changed:
            self.queue.serve(ticket, pixels)
        self._metrics.strip_seconds.observe(seconds)
        self._metrics.pixels.labels(run.model, self.models[run.model].device).inc(pixels)

    def _settle(self, ticket: Ticket, run: PlaneRun, outcome: Plane | ServiceError) -> None:
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

    def _test_after(self, failure: DeviceFailure) -> None:
        """Run the self-test after a failure that the image may have caused; a device that fails the self-test as well is lost."""
        log().warning("device failure", error=failure.code, exc_info=failure.__cause__)
        self._self_test()

    def _self_test(self) -> None:
        self._metrics.selftest.set(0)
        with self._watched():
            self._backend.check()
        self._metrics.selftest.set(1)

    def _time_pass(self, model: str) -> None:
        with self._watched():
            self.throughputs[model].start_again(*self._backend.time_pass(model))

    def _may_measure(self) -> bool:
        return bool(self._doubted) and time.monotonic() >= self._measure_at

    def _measure_doubted(self) -> None:
        with self._changed:
            doubted, self._doubted = self._doubted, set()
        for model in doubted:
            try:
                self._time_pass(model)
            except DeviceFailure as error:
                self._test_after(error)
        self._measure_at = time.monotonic() + MEASURE_SECONDS

    def _doubt_slow_models(self) -> None:
        with self._changed:
            self._doubted |= {model for model in self.models if self.throughputs[model].doubtful}

    @contextmanager
    def _watched(self) -> Iterator[float]:
        """Let the event loop see how long a computation takes; yield the moment it began."""
        self._strip_began = began = time.monotonic()
        try:
            yield began
        finally:
            self._strip_began = None

    def _lose(self, error: Exception) -> None:
        """Fail all runs in progress, so that the process can end: only a new process can get the device back."""
        # What a setting says is wrong needs no traceback: weights that cannot be loaded, a budget that is too small, no GPU.
        expected = self.state == "loading" and isinstance(error, (ValueError, ServiceError))
        log().error("device lost", reason=str(error), exc_info=None if expected else error)
        with self._changed:
            self.state = "lost"
            waiting = [(ticket, ticket.run) for ticket in self.queue.places if ticket.run]
        for ticket, run in waiting:
            self._settle(ticket, run, DeviceLost())
