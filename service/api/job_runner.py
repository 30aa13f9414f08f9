"""Background jobs: admit them as requests, run them without a client that waits, and report how far they are."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from service.api.context import AppContext
from service.api.error_responses import as_service_error
from service.api.job_clock import JobClock
from service.api.job_request import JobRequest
from service.api.run_job import admit, compute
from service.denoising.job import Job, PictureResult
from service.engine.ticket import Ticket
from service.errors import DeadlineExceeded, Draining, JobConflict, JobsUnavailable, ServiceError, TooManyPixels
from service.imaging.picture import Format
from service.jobs.result import JobResult
from service.jobs.state import JobState, Status, now_utc
from service.jobs.store import JobStore
from service.telemetry.logs import log
from service.telemetry.request_record import current_record, open_record

REPORT_SECONDS = 0.25
_ATTEMPTS = 10  # to write a final state, a second apart


@dataclass(eq=False)
class _Running:
    """A job of this process.

    Attributes:
        state: Its state, as this process knows it.
        ticket: Its place in the queue of the engine.
        file_format: Format of its file.
        ended: The task that ends when the final state is written.
        computing: The task that computes the result.
        stopped: Whether the computation was stopped.
        error: Why it was stopped, if there is an error to report.
    """

    state: JobState
    ticket: Ticket
    file_format: Format
    ended: asyncio.Task[None] = field(init=False)
    computing: asyncio.Task[PictureResult] | None = None
    stopped: bool = False
    error: ServiceError | None = None

    def stop(self, error: ServiceError | None) -> None:
        """Stop the computation."""
        if not self.stopped:
            self.stopped, self.error = True, error
            if self.computing:
                self.computing.cancel()


class JobRunner:
    """Runs the background jobs of this process; all methods run on the event loop.

    Args:
        context: What all requests share.
        store: Where states and results are kept.

    Attributes:
        store: Where states and results are kept.
        reading: Bounds how many results are in memory beside the store at the same time.
    """

    def __init__(self, context: AppContext, store: JobStore) -> None:
        self.store = store
        self.reading = asyncio.Semaphore(context.settings.codec_threads)
        self._context = context
        self._settings = context.settings
        self._running: dict[tuple[str, str], _Running] = {}
        self._unread: set[tuple[str, str]] = set()
        self._clock = JobClock(context.engine)
        self._size = 0
        metrics = context.metrics
        metrics.background_jobs.set_function(lambda: len(self._running))
        metrics.job_bytes.set_function(lambda: self._size)

    async def submit(self, owner: str, job_id: str, request: JobRequest) -> tuple[JobState, bool]:
        """Accept a job.

        Returns:
            The state of the job, and whether the job is new. It is not new if the same was asked for with this ID before.

        Raises:
            Refused: If the engine does not admit it, or if the store has no room.
            TooManyPixels: If its result can never fit into the store.
            JobConflict: If another job has this ID.
        """
        known = await self.store.get(owner, job_id)
        if known:
            return _same(known, request), False
        if request.reserved_bytes > self.store.capacity:
            raise TooManyPixels("The result would not fit into the space for the results of background jobs.")
        ticket = admit(self._context, request.job, self._settings.job_timeout_seconds)
        state = JobState(id=job_id, owner=owner, fingerprint=request.fingerprint, created_at=now_utc())
        running = _Running(state, ticket, request.job.output.file_format or request.job.default_format)
        state = self._tell(running)
        try:
            known = await self.store.add(state, request.reserved_bytes)
            if known:
                same = _same(known, request)
        except BaseException:
            ticket.give_back(ticket)
            raise
        if known:
            ticket.give_back(ticket)
            return same, False
        self._running[owner, job_id] = running
        running.ended = asyncio.create_task(self._supervise(running, request))
        return state, True

    async def cancel(self, state: JobState) -> JobState:
        """Cancel a job of any instance, or forget it if it has ended; return the state in which it ended."""
        owner, job_id, finished = state.owner, state.id, state.finished
        if not finished:
            running = self._running.get((owner, job_id))
            if running:
                await self._stop([running], None)
            else:  # the instance that computes it will notice
                await self.store.end(state.ended("canceled", self._settings.job_keep_seconds))
            state = await self.store.get(owner, job_id) or state
        if finished or state.status != "canceled":  # it may have been finished in the meantime
            await self.store.remove(owner, job_id)
        self._unread.discard((owner, job_id))
        return state

    def note_read(self, state: JobState) -> None:
        """Note that a caller knows how a job ended: it has received the result, or has read that there is none."""
        self._unread.discard((state.owner, state.id))

    @property
    def busy(self) -> bool:
        """Whether a job is unfinished, or will be lost with this process before any caller knows how it ended."""
        return bool(self._running or self._unread)

    async def shut_down(self) -> None:
        """Cancel all unfinished jobs, because the process ends."""
        error = Draining("The service was shut down before the job was finished. Send it again.", retry_after=5)
        await self._stop(list(self._running.values()), error)

    async def watch(self) -> None:
        """Drop what has expired, once per second, until canceled."""
        while True:
            with contextlib.suppress(JobsUnavailable):
                self._size = await self.store.size()
            await asyncio.sleep(1)

    async def _stop(self, jobs: list[_Running], error: ServiceError | None) -> None:
        for running in jobs:
            running.stop(error)
        if jobs:
            await asyncio.wait([running.ended for running in jobs])

    async def _supervise(self, running: _Running, request: JobRequest) -> None:
        """Compute a job until it is finished, canceled or late, and write how it ended. Nothing cancels this task."""
        record = open_record(running.state.id)
        record.model, record.pixels = request.job.model.name, running.ticket.held
        with running.ticket as ticket:
            job: Job[PictureResult] = request.job
            computing = asyncio.create_task(compute(self._context, ticket, job, lambda result: result))
            running.computing = computing
            if running.stopped:  # before the computation began
                computing.cancel()
            report = asyncio.create_task(self._report(running))
            await asyncio.wait({computing}, timeout=ticket.deadline - time.monotonic())
            if not computing.done():
                running.stop(DeadlineExceeded())
                await asyncio.wait({computing})
            report.cancel()
        if computing.cancelled():
            result, error = None, running.error
            status: Status = "failed" if isinstance(error, DeadlineExceeded) else "canceled"
        elif isinstance(failure := computing.exception(), Exception):
            result, error, status = None, as_service_error(failure), "failed"
        else:
            result, error, status = computing.result(), None, "succeeded"
        self._tell(running)
        if self._context.engine.draining and not self.store.shared:
            self._unread.add((running.state.owner, running.state.id))
        try:
            await self._end(running.state, request, status, error, result)
            if result:
                self._clock.note_end(running.ticket, running.file_format)
        finally:
            del self._running[running.state.owner, running.state.id]

    async def _end(
        self, state: JobState, request: JobRequest, status: Status, error: ServiceError | None, result: PictureResult | None
    ) -> None:
        """Write the final state of a job, count it, and log it."""
        record, kept = current_record(), None
        changes: dict[str, object] = {}
        if result:
            request.note(self._context.metrics, result)
            kept = await asyncio.to_thread(JobResult.of, result, request.image, gray=request.gray, factor=request.factor)
            figures = await asyncio.to_thread(request.figures, result)
            changes = {"progress": 1.0, "figures": figures.model_dump(mode="json"), "headers": request.headers(result)}
        if error:
            record.outcome, record.error = error.outcome, error.code
            changes["error"] = error.problem(state.id)
        if status == "canceled":
            record.outcome = "cancelled"
        final = state.ended(status, self._settings.job_keep_seconds, **changes)
        if not await self._write(final, kept):
            record.outcome = "cancelled"  # another instance ended it first
        assert record.model
        self._context.metrics.jobs.labels(record.model, record.outcome).inc()
        seconds = round(time.monotonic() - record.arrived, 4)
        log().info("job", id=state.id, outcome=record.error or record.outcome, seconds=seconds, model=record.model)

    async def _write(self, final: JobState, result: JobResult | None) -> bool:
        """Write a final state, and wait for a store that cannot be reached for some time."""
        for _ in range(_ATTEMPTS):
            try:
                return await self.store.end(final, result)
            except JobsUnavailable:
                await asyncio.sleep(1)
        log().error("the result of a job is lost because the store cannot be reached", id=final.id)
        return True

    async def _report(self, running: _Running) -> None:
        """Write how far a job is, and cancel it if another instance has ended it."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            state = self._tell(running)
            with contextlib.suppress(JobsUnavailable):
                if not await self.store.update(state):
                    running.stop(None)
                    return

    def _tell(self, running: _Running) -> JobState:
        """Bring the state of a job up to date, and return it."""
        running.state = self._clock.present(running.state, running.ticket, running.file_format)
        return running.state


def runner_of(connection: HTTPConnection) -> JobRunner:
    """Return what runs the background jobs of the application that serves a connection."""
    runner: JobRunner = connection.app.state.jobs
    return runner


def _same(known: JobState, request: JobRequest) -> JobState:
    if known.fingerprint != request.fingerprint:
        raise JobConflict
    return known
