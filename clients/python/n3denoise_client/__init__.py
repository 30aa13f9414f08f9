"""A typed client for the image denoising service n3denoise."""

from n3denoise_client.clients import AsyncClient, Client
from n3denoise_client.errors import (
    AccessDenied,
    BadImage,
    Busy,
    ClientError,
    ConnectionFailed,
    InvalidOption,
    JobConflict,
    JobGone,
    JobNotFinished,
    JobStillRunning,
    NotFound,
    ProblemError,
    RequestRejected,
    ServiceError,
    TimeLimit,
    TooLarge,
    UnexpectedResponse,
)
from n3denoise_client.retries import Retries

__all__ = [
    "AccessDenied",
    "AsyncClient",
    "BadImage",
    "Busy",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "InvalidOption",
    "JobConflict",
    "JobGone",
    "JobNotFinished",
    "JobStillRunning",
    "NotFound",
    "ProblemError",
    "RequestRejected",
    "Retries",
    "ServiceError",
    "TimeLimit",
    "TooLarge",
    "UnexpectedResponse",
]
