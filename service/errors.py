"""All errors of the service: one closed tree, rendered as RFC 9457 problem details.

    ServiceError
    ├── ClientError                   the request is at fault; the same request would fail again
    │   ├── BadRequest           400  a body or form that cannot be read
    │   ├── Unauthorized         401  an API key is required
    │   ├── Forbidden            403
    │   ├── NotFound             404
    │   ├── MethodNotAllowed     405
    │   ├── NotAcceptable        406  the Accept header excludes every available response
    │   ├── SlowRequest          408  the body arrived too slowly
    │   ├── JobConflict          409  another job has this ID
    │   ├── JobNotFinished       409  the job has no result yet
    │   ├── JobGone              410  the job was canceled, or its result is no longer kept
    │   ├── BodyTooLarge         413  bytes
    │   ├── TooManyPixels        413  pixels
    │   ├── UnsupportedFormat    415  a file format that the service does not read
    │   ├── UnsupportedEncoding  415  a compressed request body
    │   ├── UnsupportedMode      415  a known format, but an unsupported depth, mode or frame count
    │   ├── ExpectationFailed    417  an Expect header other than 100-continue
    │   ├── InvalidParameter     422
    │   ├── SigmaOutOfRange      422
    │   ├── UndecodableImage     422
    │   ├── ReferenceMismatch    422
    │   ├── MaskMismatch         422
    │   └── HeadersTooLarge      431
    ├── Refused                       the service cannot take the request now; try again after Retry-After seconds
    │   ├── UploadsFull          429  too many bytes are being received, or wait to be read
    │   ├── QueueFull            429  too many requests or pixels are admitted
    │   ├── WouldMissDeadline    429  the request, or one admitted before, could not finish in time
    │   ├── JobsFull             429  no room for the result of another background job
    │   ├── NotReady             503
    │   ├── Draining             503
    │   ├── JobsUnavailable      503  the store of background jobs cannot be reached
    │   └── DeviceLost           503
    ├── DeadlineExceeded         504  admitted, but not finished in time
    ├── DeviceFailure                 admitted, but the device failed
    │   ├── DeviceOutOfMemory    503
    │   ├── DeviceFault          500
    │   └── NonFiniteResult      500
    ├── InstanceLost             503  the instance that computed a background job has ended
    ├── ClientGone               499  the client hung up; only logs and metrics see this error
    └── InternalError            500  a defect of the service

No message repeats a value that the client sent: `detail` states limits and facts of the service, and the names of options.
"""

# The tree above documents the classes; their names are those in the responses and lack Python's suffix Error.
# ruff: noqa: D101, D102, N818

import math
from typing import ClassVar, Self


class ServiceError(Exception):
    """Base class of all errors; only leaves of the tree are raised.

    Args:
        detail: One sentence for the client that repeats nothing from the request; by default the title.
        retry_after: Seconds after which to try again; sent as Retry-After, rounded up.
        members: Further members of the problem document, such as the limit that was exceeded.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    outcome: ClassVar[str] = "internal"

    def __init__(self, detail: str = "", *, retry_after: float | None = None, **members: object) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or f"{self.title}."
        self.retry_after = retry_after
        self.members = members

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers of the error response."""
        if self.retry_after is None:
            return {}
        return {"retry-after": str(max(1, math.ceil(self.retry_after)))}

    def problem(self, request_id: str) -> dict[str, object]:
        """Return the problem document (RFC 9457) of this error for one request."""
        return {
            "type": f"urn:n3denoise:error:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": f"urn:n3denoise:request:{request_id}",
            **self.members,
        }


class ClientError(ServiceError):
    """The request is at fault."""

    outcome = "client_error"


class BadRequest(ClientError):
    status, code, title = 400, "bad-request", "The request cannot be read"


class Unauthorized(ClientError):
    status, code, title = 401, "unauthorized", "A valid API key is required"

    @property
    def headers(self) -> dict[str, str]:
        return {"www-authenticate": 'Bearer realm="n3denoise"'}


class Forbidden(ClientError):
    status, code, title = 403, "forbidden", "The request is not allowed"


class NotFound(ClientError):
    status, code, title = 404, "not-found", "The resource does not exist"


class MethodNotAllowed(ClientError):
    status, code, title = 405, "method-not-allowed", "The resource does not support this method"

    def __init__(self, allow: str) -> None:
        super().__init__("The Allow header lists the supported methods.")
        self.allow = allow

    @property
    def headers(self) -> dict[str, str]:
        return {"allow": self.allow}


class NotAcceptable(ClientError):
    status, code, title = 406, "not-acceptable", "No available response matches the Accept header"


class SlowRequest(ClientError):
    status, code, title = 408, "slow-request", "The request body arrived too slowly"


class JobConflict(ClientError):
    status, code, title = 409, "job-conflict", "Another job with other images or options has this ID"


class JobNotFinished(ClientError):
    status, code, title = 409, "job-not-finished", "The job is not finished"


class JobGone(ClientError):
    status, code, title = 410, "job-gone", "The job has no result"


class BodyTooLarge(ClientError):
    status, code, title = 413, "body-too-large", "The request body is too large"


class TooManyPixels(ClientError):
    status, code, title = 413, "too-many-pixels", "The image has too many pixels"


class UnsupportedFormat(ClientError):
    status, code, title = 415, "unsupported-format", "The image format is not supported"


class UnsupportedEncoding(ClientError):
    status, code, title = 415, "unsupported-encoding", "The content encoding of the request is not supported"


class UnsupportedMode(ClientError):
    status, code, title = 415, "unsupported-mode", "The depth, color mode or frame count of the image is not supported"


class ExpectationFailed(ClientError):
    status, code, title = 417, "expectation-failed", "The Expect header is not supported"


class InvalidParameter(ClientError):
    status, code, title = 422, "invalid-parameter", "A parameter is missing or invalid"


class SigmaOutOfRange(ClientError):
    status, code, title = 422, "sigma-out-of-range", "The model was not trained for this sigma"


class UndecodableImage(ClientError):
    status, code, title = 422, "undecodable-image", "The image cannot be decoded"


class ReferenceMismatch(ClientError):
    status, code, title = 422, "reference-mismatch", "The reference does not match the image"


class MaskMismatch(ClientError):
    status, code, title = 422, "mask-mismatch", "The mask does not match the image"


class HeadersTooLarge(ClientError):
    status, code, title = 431, "headers-too-large", "The request headers are too large"


class Refused(ServiceError):
    """The service cannot take the request now; nothing was computed, and a later attempt may succeed."""

    outcome = "rejected"


class UploadsFull(Refused):
    status, code, title = 429, "uploads-full", "Too many bytes of requests and unread responses are held"


class QueueFull(Refused):
    status, code, title = 429, "queue-full", "Too many requests are in progress"


class WouldMissDeadline(Refused):
    status, code, title = 429, "would-miss-deadline", "A request would not finish in time"


class JobsFull(Refused):
    status, code, title = 429, "jobs-full", "The results of background jobs take all the space that is set aside for them"


class JobsUnavailable(Refused):
    status, code, title = 503, "jobs-unavailable", "The store of background jobs cannot be reached"

    def __init__(self) -> None:
        super().__init__(retry_after=5)


class NotReady(Refused):
    status, code, title = 503, "not-ready", "The service is not ready"

    @classmethod
    def loading(cls) -> Self:
        """Return the error for a request that comes before the models are loaded."""
        return cls("The models are being loaded.", retry_after=5)

    @classmethod
    def hung(cls) -> Self:
        """Return the error for a computation that takes longer than any should."""
        return cls("The compute device has not responded for too long.", retry_after=30)

    @classmethod
    def stuck(cls) -> Self:
        """Return the error for reading, decoding or encoding an image that takes longer than any should."""
        return cls("Reading, decoding or encoding an image has not finished for too long.", retry_after=30)


class Draining(Refused):
    status, code, title = 503, "draining", "The service is shutting down"


class DeviceLost(Refused):
    status, code, title = 503, "device-lost", "The compute device is lost"

    def __init__(self) -> None:
        super().__init__("The compute device is lost, and the service is about to exit.", retry_after=30)


class DeadlineExceeded(ServiceError):
    status, code, title = 504, "deadline-exceeded", "The result was not ready within the time limit"
    outcome = "timeout"


class DeviceFailure(ServiceError):
    """The device failed on an admitted request."""

    outcome = "device_error"


class DeviceOutOfMemory(DeviceFailure):
    status, code, title = 503, "device-out-of-memory", "The compute device ran out of memory"


class DeviceFault(DeviceFailure):
    status, code, title = 500, "device-fault", "The compute device failed"


class NonFiniteResult(DeviceFailure):
    status, code, title = 500, "non-finite-result", "The model's result is not finite"


class InstanceLost(ServiceError):
    status, code, title = 503, "instance-lost", "The instance of the service that computed the job has ended"


class ClientGone(ServiceError):
    status, code, title = 499, "client-gone", "The client closed the connection"
    outcome = "cancelled"


class InternalError(ServiceError):
    """A defect of the service; the log has the details, and the response does not."""


def leaves(root: type[ServiceError] = ServiceError) -> list[type[ServiceError]]:
    """Return all errors that a response can carry, in the order of the tree."""
    below = root.__subclasses__()
    return [leaf for child in below for leaf in leaves(child)] if below else [root]
