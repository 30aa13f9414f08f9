"""What the service tells about itself: Prometheus metrics, the request's own record, structured logs."""

import contextvars
import logging
import re
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from service.settings import Settings

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
SHORT = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
PIXELS = tuple(float(side * side) for side in (64, 128, 256, 512, 1024, 2048, 4096, 6400))
DECIBELS = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 50.0)
SIGMAS = (0.0, 1.0, 2.0, 5.0, 10.0, 15.0, 25.0, 35.0, 50.0, 75.0)
LOGGER = "n3denoise"
HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """All metrics of one application; labels come from closed sets, never from a request's content."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return Histogram(name, text, labels, registry=registry, buckets=buckets)

        self.http_seconds = histogram(
            "http_server_request_duration_seconds",
            "Time from the first byte of a request's headers to the last byte of its answer.",
            *("http_request_method", "http_route", "http_response_status_code"),
        )
        self.http_active = gauge("http_server_active_requests", "Requests in progress.")
        self.build = gauge("denoise_build_info", "Versions, as labels of a constant 1.", "version", "torch", "python")
        self.model = gauge("denoise_model_info", "Models served.", "model", "weights_sha256", "dtype")
        self.device = gauge("denoise_device_info", "Device in use and why.", "device", "name", "fallback_reason")
        self.ready = gauge("denoise_ready", "1 while new work is accepted.")
        self.draining = gauge("denoise_draining", "1 after SIGTERM.")
        self.jobs = counter("denoise_jobs", "Requests for denoising by how they ended.", "model", "outcome")
        self.rejections = counter("denoise_rejections", "Requests refused for the moment, by error code.", "reason")
        self.input_rejections = counter(
            "denoise_input_rejections", "Requests refused for what they hold, by error code.", "reason"
        )
        self.stage_seconds = histogram("denoise_stage_duration_seconds", "Time in each stage of a request.", "stage")
        self.in_progress = gauge("denoise_jobs_in_progress", "Images with at least one strip done and one to do.")
        self.queue_jobs = gauge("denoise_queue_jobs", "Requests admitted and not finished.")
        self.queue_pixels = gauge("denoise_queue_pixels", "Network pixels admitted and not computed.")
        self.pixels = counter("denoise_pixels", "Network pixels computed.", "model", "device")
        self.rate = gauge("denoise_pixels_per_second", "Measured rate of the device, which Retry-After comes from.")
        self.input_pixels = histogram("denoise_input_pixels", "Pixels of the images admitted.", buckets=PIXELS)
        self.psnr = histogram("denoise_psnr_decibels", "PSNR against references sent.", "kind", buckets=DECIBELS)
        self.gain = histogram("denoise_psnr_gain_decibels", "Denoised minus noisy PSNR.", buckets=DECIBELS)
        self.estimated_sigma = histogram("denoise_estimated_sigma", "Sigma estimated for auto.", buckets=SIGMAS)
        self.gpu_allocated = gauge("denoise_gpu_memory_allocated_bytes", "Device memory in use by tensors; 0 on a CPU.")
        self.gpu_reserved = gauge("denoise_gpu_memory_reserved_bytes", "Device memory held by torch; 0 on a CPU.")
        self.device_errors = counter("denoise_device_errors", "Failures of the device.", "kind")
        self.selftest = gauge("denoise_selftest_success", "1 when the last self-test gave the stored result.")
        self.strip_seconds = histogram("denoise_strip_duration_seconds", "Time of one strip on the device.", buckets=SHORT)
        self.loop_lag = histogram("denoise_event_loop_lag_seconds", "How late the event loop runs its timers.", buckets=SHORT)


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


def configure_logs(settings: Settings, stream: TextIO | None = None) -> None:
    """Send our logs and those of the libraries to a stream, standard error unless given, in one form."""
    stream = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )  # the default would print local variables, pixels among them
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # What libraries say for debugging tells of the pictures: Pillow names every tag.
    root.setLevel(max(logging.INFO, logging.getLevelName(settings.log_level.upper())))
    # What they say of damaged input is as long as a client wants it to be.
    logging.captureWarnings(capture=True)
    for library in ("PIL", "imagecodecs", "tifffile", "python_multipart", "py.warnings"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.getLogger(LOGGER).setLevel(settings.log_level.upper())


def log() -> structlog.stdlib.BoundLogger:
    """The service's logger; the configuration is looked up at each call, so importing configures nothing."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(LOGGER)
    return logger
