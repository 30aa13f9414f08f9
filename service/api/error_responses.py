"""Render every error, including those of the framework, as problem details (RFC 9457), and note it for the metrics."""

import json

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.errors import BadRequest, InternalError, InvalidParameter, MethodNotAllowed, NotFound, ServiceError
from service.telemetry.logs import log
from service.telemetry.request_record import current_record

MEDIA_TYPE = "application/problem+json"


def response_to(error: ServiceError) -> Response:
    """Return the response to an error, and note the error in the record of the request."""
    record = current_record()
    record.outcome, record.error = error.outcome, error.code
    body = json.dumps(error.problem(record.request_id)).encode()
    return Response(body, error.status, error.headers, MEDIA_TYPE)


def as_service_error(error: Exception) -> ServiceError:
    """Return the `ServiceError` for any exception. Its message contains no input of the client."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, RequestValidationError):
        return InvalidParameter("A parameter is missing or invalid; see the API documentation.")
    if isinstance(error, HTTPException):
        return _of_framework(error)
    log().exception("defect", exc_info=error)
    return InternalError("An internal error occurred; the log has details under the ID of this request.")


def _of_framework(error: HTTPException) -> ServiceError:
    if error.status_code == 404:
        return NotFound("There is nothing at this address.")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "").split(", ")
        implied = ["HEAD"] if "GET" in allowed else []  # HEAD works wherever GET does
        return MethodNotAllowed(", ".join(sorted({*allowed, *implied})))
    if 400 <= error.status_code < 500:
        return BadRequest("The request cannot be read.")
    return InternalError()


async def handle(_: Request, error: Exception) -> Response:
    """Handle an exception for the framework."""
    return response_to(as_service_error(error))
