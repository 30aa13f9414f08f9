"""Structured logs of the service and of the libraries it uses."""

import logging
import sys
from typing import TextIO

import structlog
from opentelemetry import trace

from service.settings import Settings

LOGGER = "n3denoise"


def configure_logs(settings: Settings, stream: TextIO | None = None) -> None:
    """Write the logs of the service and of its libraries in one format.

    Args:
        settings: Format and level.
        stream: Where to write; standard error by default.
    """
    stream = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        _add_trace_id,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )  # the default formatter would print local variables, and with them pixels
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
    # Debug messages of libraries reveal what images contain: Pillow, for example, logs every metadata tag.
    root.setLevel(max(logging.INFO, logging.getLevelName(settings.log_level.upper())))
    # A client could make warnings about damaged input as long as it likes.
    logging.captureWarnings(capture=True)
    for library in ("PIL", "imagecodecs", "tifffile", "python_multipart", "py.warnings"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.getLogger(LOGGER).setLevel(settings.log_level.upper())


def _add_trace_id(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the ID of the current trace, if there is one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
    return event


def log() -> structlog.stdlib.BoundLogger:
    """Return the service's logger. Each call looks up the configuration, so that importing a module configures nothing."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(LOGGER)
    return logger
