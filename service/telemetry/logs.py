"""Structured logs, for the service and for the libraries it uses."""

import logging
import sys
from typing import TextIO

import structlog

from service.settings import Settings

LOGGER = "n3denoise"


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
