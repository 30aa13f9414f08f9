"""The form of response that the Accept header of a request asks for."""

from starlette.requests import Request

from service.errors import NotAcceptable


def wants_json(request: Request) -> bool:
    """Return whether the response shall be JSON rather than an image file; an image wins a tie.

    Raises:
        NotAcceptable: If neither is acceptable.
    """
    header = request.headers.get("accept", "*/*")
    image = json = 0.0
    for entry in header.split(","):
        media_range, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = _quality(parameters)
        if media_range == "*/*" or media_range.startswith("image/"):
            image = max(image, quality)
        if media_range in ("application/json", "application/*"):
            json = max(json, quality)
    if not image and not json:
        raise NotAcceptable("The response is an image file or application/json.")
    return json > image


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0
