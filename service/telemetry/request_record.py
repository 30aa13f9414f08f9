"""The record of one request: its ID, its timings, and how it ended."""

import contextvars
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.telemetry.metrics import Metrics


@dataclass
class Record:
    """What one request tells about itself.

    Attributes:
        request_id: The client's own, or a fresh one.
        arrived: On the monotonic clock.
        model: The model asked for, once the request is known to be one for denoising.
        pixels: Of all its pictures, once it is admitted.
        outcome: How it ended, in the words of `denoise_jobs_total`.
        error: Code of the error it was answered with.
        stages: Seconds in each stage, for Server-Timing.
        facts: Further facts for the log.
    """

    request_id: str
    arrived: float
    model: str | None = None
    pixels: int = 0
    outcome: str = "ok"
    error: str | None = None
    stages: dict[str, float] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)

    def server_timing(self) -> str:
        """The Server-Timing header so far, in milliseconds."""
        total = time.monotonic() - self.arrived
        parts = [*self.stages.items(), ("total", total)]
        return ", ".join(f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in parts)


_record: contextvars.ContextVar[Record] = contextvars.ContextVar("record")


def open_record(client_id: str | None) -> Record:
    """Begin the record of a request; a client's id is kept when it is short and plain, so that logs stay clean."""
    plain = client_id is not None and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", client_id)
    record = Record(client_id if plain and client_id else uuid.uuid4().hex, time.monotonic())
    _record.set(record)
    return record


def current_record() -> Record:
    """The record of the request that is being handled, or a fresh one outside any request."""
    try:
        return _record.get()
    except LookupError:
        return open_record(None)


@contextmanager
def stage(metrics: Metrics, name: str) -> Iterator[None]:
    """Time one stage of the current request; repeated stages of a name add up in Server-Timing."""
    start = time.monotonic()
    try:
        yield
    finally:
        note_stage(metrics, current_record(), name, time.monotonic() - start)


def note_stage(metrics: Metrics, record: Record, name: str, seconds: float) -> None:
    """Record a stage that was timed elsewhere."""
    metrics.stage_seconds.labels(name).observe(seconds)
    record.stages[name] = record.stages.get(name, 0.0) + seconds
