"""Exceptions of the client.

ClientError
├── ConnectionFailed        no response arrived
├── UnexpectedResponse      the response is not what the API describes
├── JobStillRunning         a job has not ended within the time that the caller set
└── ProblemError            the service answered with an error
    ├── RequestRejected     the request is at fault; the same request would fail again
    │   ├── AccessDenied    the API key is missing, wrong or not sufficient
    │   ├── NotFound        there is no such job, or no such endpoint
    │   ├── JobConflict     another job has this ID
    │   ├── JobNotFinished  the job has no result yet
    │   ├── JobGone         the job was canceled, or its result is no longer kept
    │   ├── TooLarge        more bytes or pixels than the service accepts
    │   ├── BadImage        a file that the service cannot read, or that does not match the others
    │   └── InvalidOption   an option is unknown or invalid
    └── ServiceError        the service could not do the work
        ├── Busy            it could not take the work or finish it now; later it may
        └── TimeLimit       it accepted the work, and did not finish it in time
"""

# The tree above documents the classes.
# ruff: noqa: D101, N818

from typing import Any

from n3denoise_client.results import Job, Problem


class ClientError(Exception):
    """Base class of all exceptions of this package."""


class ConnectionFailed(ClientError):
    """No response arrived. The cause is the exception of the HTTP library."""


class UnexpectedResponse(ClientError):
    """The response is not what the API describes; something between client and service may have written it."""


class JobStillRunning(ClientError):
    """A job has not ended within the time that the caller set; it goes on.

    Attributes:
        job: The last known state.
    """

    def __init__(self, job: Job) -> None:
        super().__init__("The job has not ended in time.")
        self.job = job

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.job,)


class ProblemError(ClientError):
    """The service answered with an error.

    Attributes:
        problem: The problem document.
        retry_after: Seconds after which the service says to try again; None if it does not say so.
    """

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem, self.retry_after)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def code(self) -> str:
        """The code in the table of errors in docs/api.md, such as queue-full."""
        return self.problem.type.rpartition(":")[2]

    @property
    def members(self) -> dict[str, Any]:
        """Further members of the problem document, such as limit_bytes."""
        return self.problem.model_extra or {}

    @property
    def request_id(self) -> str:
        """The ID under which the log of the service has the request."""
        return self.problem.instance.rpartition(":")[2]


class RequestRejected(ProblemError): ...


class AccessDenied(RequestRejected): ...


class NotFound(RequestRejected): ...


class JobConflict(RequestRejected): ...


class JobNotFinished(RequestRejected): ...


class JobGone(RequestRejected): ...


class TooLarge(RequestRejected): ...


class BadImage(RequestRejected): ...


class InvalidOption(RequestRejected): ...


class ServiceError(ProblemError): ...


class Busy(ServiceError): ...


class TimeLimit(ServiceError): ...


KINDS: dict[str, type[ProblemError]] = {
    **dict.fromkeys(("unauthorized", "forbidden"), AccessDenied),
    "not-found": NotFound,
    "job-conflict": JobConflict,
    "job-not-finished": JobNotFinished,
    "job-gone": JobGone,
    **dict.fromkeys(("body-too-large", "too-many-pixels"), TooLarge),
    **dict.fromkeys(
        ("unsupported-format", "unsupported-mode", "undecodable-image", "reference-mismatch", "mask-mismatch"), BadImage
    ),
    **dict.fromkeys(("invalid-parameter", "sigma-out-of-range"), InvalidOption),
    **dict.fromkeys(("uploads-full", "queue-full", "would-miss-deadline", "jobs-full"), Busy),
    **dict.fromkeys(("not-ready", "draining", "jobs-unavailable", "device-lost", "device-out-of-memory"), Busy),
    "deadline-exceeded": TimeLimit,
}
"""The exception for each code; other codes are a `RequestRejected` if the status is below 500, and a `ServiceError` otherwise."""


def problem_error(problem: Problem, retry_after: float | None = None) -> ProblemError:
    """Return the exception for a problem document."""
    kind = KINDS.get(problem.type.rpartition(":")[2]) or (RequestRejected if problem.status < 500 else ServiceError)
    return kind(problem, retry_after)
