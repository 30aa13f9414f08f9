"""The parts of the OpenAPI document that the framework cannot derive from the code."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from service import errors
from service.api.error_responses import MEDIA_TYPE
from service.api.schemas import Problem
from service.errors import ServiceError
from service.imaging.picture import FORMATS

ALWAYS = (errors.Unauthorized, errors.HeadersTooLarge, errors.InternalError)
READING = (
    errors.BadRequest,
    errors.UnsupportedEncoding,
    errors.SlowRequest,
    errors.BodyTooLarge,
    errors.UploadsFull,
    errors.InvalidParameter,
)
IMAGES = (
    *READING,
    *(errors.NotAcceptable, errors.TooManyPixels, errors.UnsupportedFormat, errors.UnsupportedMode),
    *(errors.UndecodableImage, errors.ReferenceMismatch, errors.SigmaOutOfRange),
)
ENGINE = (
    *(errors.QueueFull, errors.WouldMissDeadline, errors.NotReady, errors.Draining, errors.DeviceLost),
    *(errors.DeadlineExceeded, errors.DeviceOutOfMemory, errors.DeviceFault, errors.NonFiniteResult),
)


def problems(*kinds: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with these errors, and with those that any route may."""
    responses: dict[int | str, dict[str, Any]] = {}
    every: set[type[ServiceError]] = {*kinds, *ALWAYS}
    for kind in sorted(every, key=lambda kind: (kind.status, kind.code)):
        response = responses.setdefault(
            kind.status,
            {"description": "", "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}},
        )
        response["description"] = "; ".join(filter(None, (response["description"], f"`{kind.code}`: {kind.title}")))
        if kind.outcome == "rejected":
            response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
    return responses


def image_response(body: type[BaseModel], *headers: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` entry of a route that answers with an image or, if the Accept header asks for it, with JSON."""
    return {
        HTTPStatus.OK.value: {
            "description": "The image file; with `Accept: application/json`, its figures and the image in base64.",
            "content": {
                **{f"image/{name}": {"schema": {"type": "string", "format": "binary"}} for name in FORMATS},
                "application/json": {"schema": inlined(body.model_json_schema())},
            },
            "headers": {name: {"schema": {"type": "string"}} for name in headers},
        }
    }


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with the references to its own definitions replaced by them, for use inside another document."""
    definitions = schema.get("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolve(definitions[node["$ref"].removeprefix("#/$defs/")])
        return {key: resolve(value) for key, value in node.items() if key != "$defs"}

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def image_request(options: type[BaseModel], *files: str) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that takes images and options, as a form or with the first image as the body.

    Args:
        options: Model of the options; each may be given in the query or as a form field.
        files: Names of the files in the form; the first is required.
    """
    schema = inlined(options.model_json_schema())
    properties: dict[str, Any] = schema["properties"]
    form = {name: {"type": "string", "format": "binary"} for name in files} | properties
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "schema": field,
                "description": field.get("description", ""),
            }
            for name, field in properties.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": {"type": "object", "properties": form, "required": [files[0]]}},
                **{f"image/{name}": binary for name in FORMATS},
            },
        },
    }
