"""The form of response that the Accept header of a request asks for."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

from service.errors import NotAcceptable
from service.imaging.picture import FORMATS, MEDIA_TYPES, Format


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a client accepts.

    Attributes:
        json: Whether to answer with JSON rather than an image file.
        formats: How much the client prefers each image format, from 0 (not acceptable) to 1.
    """

    json: bool
    formats: Mapping[Format, float]

    def image_format(self, wanted: Format | None, natural: Format) -> Format:
        """Return the format of the image in the response.

        Args:
            wanted: The format that an option of the request asks for, if any.
            natural: The format to use unless the client prefers another one.

        Raises:
            NotAcceptable: If the Accept header does not allow the wanted format.
        """
        if self.json:  # the Accept header is about JSON, not about the image inside
            return wanted or natural
        if wanted:
            if not self.formats[wanted]:
                raise NotAcceptable(f"The Accept header does not allow {MEDIA_TYPES[wanted]}.")
            return wanted
        return max((natural, *FORMATS), key=lambda name: self.formats[name])  # the first of several that tie


def prefers_async(request: Request) -> bool:
    """Return whether the Prefer header (RFC 7240) of a request asks for a response before the work is done."""
    preferences = ",".join(request.headers.getlist("prefer")).split(",")
    return any(each.partition(";")[0].strip().lower() == "respond-async" for each in preferences)


def accepted(request: Request, *, prefer_json: bool = False) -> Accepted:
    """Read the Accept header of a request.

    Args:
        request: The request.
        prefer_json: Whether JSON wins a tie with an image, and is what */* allows.

    Raises:
        NotAcceptable: If neither JSON nor any image format that the service writes is acceptable.
    """
    ranges = _ranges(request.headers.get("accept") or "*/*")
    formats = {name: _quality(ranges, MEDIA_TYPES[name], "image/*", "*/*") for name in FORMATS}
    image, json = max(formats.values()), _quality(ranges, "application/json", "application/*")
    if prefer_json or not image:  # then JSON is what */* allows
        json = _quality(ranges, "application/json", "application/*", "*/*")
    if not image and not json:
        raise NotAcceptable(f"The response is application/json or one of {', '.join(MEDIA_TYPES.values())}.")
    return Accepted(json > image or (prefer_json and json == image), formats)


def _ranges(header: str) -> dict[str, float]:
    """Return the quality of each media range in an Accept header."""
    ranges = {}
    for entry in header.split(","):
        media_range, *parameters = (part.strip().lower() for part in entry.split(";"))
        ranges[media_range] = _parameter(parameters)
    return ranges


def _parameter(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0


def _quality(ranges: Mapping[str, float], *media_ranges: str) -> float:
    """Return the quality of the first of these ranges that the header names; the most specific one comes first."""
    return next((ranges[name] for name in media_ranges if name in ranges), 0.0)
