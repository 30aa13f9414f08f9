"""The parts of the OpenAPI document that the framework cannot derive from the code."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel

from service import errors
from service.api.error_responses import MEDIA_TYPE
from service.api.schemas import Problem
from service.errors import ServiceError
from service.imaging.picture import INPUT_MEDIA_TYPES

Json = dict[str, Any]

ALWAYS = (errors.Unauthorized, errors.ExpectationFailed, errors.HeadersTooLarge, errors.InternalError)
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
    *(errors.UndecodableImage, errors.ReferenceMismatch, errors.MaskMismatch, errors.SigmaOutOfRange),
)
ENGINE = (
    *(errors.QueueFull, errors.WouldMissDeadline, errors.NotReady, errors.Draining, errors.DeviceLost),
    *(errors.DeadlineExceeded, errors.DeviceOutOfMemory, errors.DeviceFault, errors.NonFiniteResult),
)
STORING = (errors.JobsFull, errors.JobsUnavailable)
STORED = (errors.NotFound, errors.JobsUnavailable)

Form = Literal["ImageForm", "DenoiseForm", "UpscaleForm"]

_FILE: Json = {"type": "string", "format": "binary"}
_IMAGE: Json = {**_FILE, "description": "Image file: PNG, JPEG, WebP, AVIF, HEIC, TIFF or BMP, recognized by its content."}
_REFERENCE: Json = {**_FILE, "description": "Clean image file to measure the quality against."}
_MASK: Json = {**_FILE, "description": "Image file of the same size: black keeps the original, white denoises, gray blends."}
_SECURITY_SCHEMES: Json = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key of the service."},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "The same key, as `Authorization: Bearer KEY`."},
}
_FORMS: Json = {
    "ImageForm": {"type": "object", "title": "ImageForm", "properties": {"image": _IMAGE}, "required": ["image"]},
    "DenoiseForm": {
        "type": "object",
        "title": "DenoiseForm",
        "properties": {"image": _IMAGE, "reference": _REFERENCE, "mask": _MASK},
        "required": ["image"],
    },
    "UpscaleForm": {
        "type": "object",
        "title": "UpscaleForm",
        "properties": {
            "image": _IMAGE,
            "reference": {**_FILE, "description": "Image file of the enlarged size to measure the quality against."},
        },
        "required": ["image"],
    },
}


def complete(document: Json, *, keys_required: bool) -> None:
    """Add to a document that the framework derived what the routes refer to: schemas and API keys.

    Args:
        document: The document, changed in place.
        keys_required: Whether the routes under /v1 require an API key.
    """
    document.setdefault("servers", [{"url": "/"}])  # the default, which some clients want to read
    components = document.setdefault("components", {})
    components["schemas"] |= _FORMS | {Problem.__name__: Problem.model_json_schema()}
    components["securitySchemes"] = _SECURITY_SCHEMES
    security: list[Json] = [{name: []} for name in _SECURITY_SCHEMES]
    events = document["paths"]["/v1/jobs/{job_id}/events"]["get"]["responses"]["200"]
    events |= {"description": "The states of the job.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    for path, operations in document["paths"].items():
        if path.startswith("/v1/"):
            for operation in operations.values():
                operation["security"] = security if keys_required else [{}, *security]


def problems(*kinds: type[ServiceError]) -> dict[int | str, Json]:
    """Return the `responses` of a route that may answer with these errors, and with those that any route may."""
    responses: dict[int | str, Json] = {}
    every: set[type[ServiceError]] = {*kinds, *ALWAYS}
    for kind in sorted(every, key=lambda kind: (kind.status, kind.code)):
        response = responses.setdefault(
            kind.status, {"description": "", "content": {MEDIA_TYPE: {"schema": _reference(Problem.__name__)}}}
        )
        response["description"] = "; ".join(filter(None, (response["description"], f"`{kind.code}`: {kind.title}")))
        if kind.outcome == "rejected":
            response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
    return responses


def image_response(
    body: type[BaseModel],
    media_types: tuple[str, ...],
    headers: Mapping[str, str],
    description: str = "The image file; with `Accept: application/json`, its figures and the image in base64.",
) -> dict[int | str, Json]:
    """Return the `responses` entry of a route that answers with an image or, if the Accept header asks for it, with JSON.

    Args:
        body: Model of the JSON body.
        media_types: Media types of the image.
        headers: Name and description of each header.
        description: What the response is.
    """
    return {
        HTTPStatus.OK.value: {
            "model": body,
            "description": description,
            **_file(media_types, headers),
        }
    }


def file_response(media_types: tuple[str, ...], headers: Mapping[str, str]) -> dict[int | str, Json]:
    """Return the `responses` entry of a route that answers with an image; see `image_response`."""
    return {HTTPStatus.OK.value: {"description": "The image file.", **_file(media_types, headers)}}


def _file(media_types: tuple[str, ...], headers: Mapping[str, str]) -> Json:
    return {
        "content": {name: {"schema": _FILE} for name in media_types},
        "headers": {name: {"schema": {"type": "string"}, "description": text} for name, text in headers.items()},
    }


def image_request(options: type[BaseModel] | tuple[type[BaseModel], ...], form: Form = "ImageForm") -> Json:
    """Return the `openapi_extra` of a route that takes options in the query, and images as a form or one image as the body.

    The service also takes the options as form fields. The document leaves this out, because a client that is generated from it
    would send every option twice.

    Args:
        options: Model of the options, or several; the last one describes an option that several have.
        form: Name of the schema of the form.
    """
    raw = {"schema": _FILE}
    models = options if isinstance(options, tuple) else (options,)
    parameters = {each["name"]: each for model in models for each in query_parameters(model)}
    return {
        "parameters": [*parameters.values()],
        "requestBody": {
            "required": True,
            "description": "A form with the image file, or the image file itself.",
            "content": {
                "multipart/form-data": {"schema": _reference(form)},
                "application/octet-stream": raw,
                **dict.fromkeys(INPUT_MEDIA_TYPES, raw),
            },
        },
    }


def query_parameters(options: type[BaseModel]) -> list[Json]:
    """Return the parameters of a route that takes options in the query."""
    schema = options.model_json_schema()
    return [_query_parameter(name, field, schema.get("required", ())) for name, field in schema["properties"].items()]


def _query_parameter(name: str, field: Json, required: Sequence[str]) -> Json:
    schema = {key: value for key, value in field.items() if key != "description"}
    if {"type": "null"} in schema.get("anyOf", ()):  # an option without a default; a query cannot say null
        (schema,) = (each for each in schema["anyOf"] if each != {"type": "null"})
    return {"name": name, "in": "query", "required": name in required, "schema": schema, "description": field["description"]}


def _reference(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}
