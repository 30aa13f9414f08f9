"""From options and images to a request, and from a response to a value."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar

import httpx2
from pydantic import Base64Bytes, BaseModel, ValidationError

from n3denoise_client.errors import UnexpectedResponse
from n3denoise_client.image_files import Denoised, Upscaled
from n3denoise_client.results import DenoisedFigures, UpscaledFigures
from n3denoise_client.retries import Request

Image: TypeAlias = bytes | os.PathLike[str]
"""An image file: its bytes, or its path."""
JSON = {"accept": "application/json"}
PNG = {"accept": "image/png"}
_Model = TypeVar("_Model", bound=BaseModel)


def get(path: str, options: Mapping[str, object] | None = None) -> Request:
    """Return a request for what is there."""
    return Request("GET", path, _query(options or {}))


def send_images(
    method: str,
    path: str,
    images: Mapping[str, Image | None],
    options: Mapping[str, object],
    headers: Mapping[str, str] | None = None,
) -> Request:
    """Return a request with one image as its body, or with several as a form.

    Args:
        method: POST or PUT.
        path: Path of the API.
        images: The images by the name of their field; those that are None are left out.
        options: Options for the query; those that are None are left out.
        headers: Further headers.
    """
    files = {name: _bytes(image) for name, image in images.items() if image is not None}
    if len(files) == 1:
        return Request(method, path, _query(options), headers or {}, content=files["image"])
    return Request(method, path, _query(options), headers or {}, files=files)


def body(model: type[_Model], response: httpx2.Response) -> _Model:
    """Return the JSON body of a response."""
    return valid(model, lambda: model.model_validate_json(response.content))


def file(model: type[_Model], response: httpx2.Response, **values: object) -> _Model:
    """Return the image file of a response with the figures in its headers. The values take the place of what it says."""
    image = {"image": response.content, "media_type": response.headers.get("content-type", "")}
    return valid(model, lambda: model.model_validate({**response.headers, **image, **values}))


class _EncodedFile(BaseModel):
    image: Base64Bytes
    media_type: str


def denoised_json(response: httpx2.Response) -> Denoised:
    """Return the image file and all figures of a response in JSON, whose headers are those of an image file."""
    return file(Denoised, response, **dict(body(_EncodedFile, response)), figures=body(DenoisedFigures, response))


def upscaled_json(response: httpx2.Response) -> Upscaled:
    """Return an enlarged picture and all figures of a response in JSON; see `denoised_json`."""
    return file(Upscaled, response, **dict(body(_EncodedFile, response)), figures=body(UpscaledFigures, response))


def valid(model: type[_Model], read: Callable[[], _Model]) -> _Model:
    """Return what a function reads from a response.

    Raises:
        UnexpectedResponse: If the response does not fit the model.
    """
    try:
        return read()
    except ValidationError as error:
        raise UnexpectedResponse(f"The response is not the {model.__name__} that the API describes: {error}") from error


def _bytes(image: Image) -> bytes:
    return image if isinstance(image, bytes) else Path(image).read_bytes()


def _query(options: Mapping[str, object]) -> dict[str, str]:
    given = {name: value for name, value in options.items() if value is not None}
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}
