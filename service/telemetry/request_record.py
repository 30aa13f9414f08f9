"""The record of one request: its ID, how long its stages took, and how it ended."""

import contextvars
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry import trace

from service.telemetry.metrics import Metrics


@dataclass
class Record:
    """What logs, metrics and response headers tell about one request.

    Attributes:
        request_id: The client's ID if it is acceptable, otherwise a random one.
        arrived: When the request arrived, on the monotonic clock.
        caller: SHA-256 of the caller's API key; None if the service requires none.
        model: Name of the model; None unless the request asks for denoising.
        pixels: Pixels of all its images; 0 until it is admitted.
        outcome: How it ended: one of the outcomes of `denoise_jobs_total`.
        error: Code of the error in its response, if any.
        stages: Seconds in each stage, for the Server-Timing header.
        facts: Further fields of its log line.
    """

    request_id: str
    arrived: float
    caller: str | None = None
    model: str | None = None
    pixels: int = 0
    outcome: str = "ok"
    error: str | None = None
    stages: dict[str, float] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)

    def server_timing(self) -> str:
        """Return the Server-Timing header for the stages so far, in milliseconds."""
        total = time.monotonic() - self.arrived
        parts = [*self.stages.items(), ("total", total)]
        return ", ".join(f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in parts)


_record: contextvars.ContextVar[Record] = contextvars.ContextVar("record")


def open_record(client_id: str | None) -> Record:
    """Create the record of a request and make it the current one.

    Args:
        client_id: The ID that the client sent. It is kept only if it is short and of plain characters, so that logs stay clean.
    """
    plain = client_id is not None and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", client_id)
    record = Record(client_id if plain and client_id else uuid.uuid4().hex, time.monotonic())
    _record.set(record)
    return record


def current_record() -> Record:
    """Return the record of the current request, or a new one outside of requests."""
    try:
        return _record.get()
    except LookupError:
        return open_record(None)


@contextmanager
def stage(metrics: Metrics, name: str) -> Iterator[None]:
    """Time one stage of the current request; stages with the same name add up in Server-Timing."""
    start = time.monotonic()
    try:
        yield
    finally:
        note_stage(metrics, current_record(), name, time.monotonic() - start)


def note_stage(metrics: Metrics, record: Record, name: str, seconds: float) -> None:
    """Record the time of a stage that was measured elsewhere and ends now; with tracing, it becomes a span of the request."""
    now = time.time_ns()
    trace.get_tracer("n3denoise").start_span(name, start_time=now - int(seconds * 1e9)).end(now)
    metrics.stage_seconds.labels(name).observe(seconds)
    record.stages[name] = record.stages.get(name, 0.0) + seconds
