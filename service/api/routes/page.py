"""GET /: the page, and its style and script under /web."""

from importlib import resources

from fastapi import APIRouter
from starlette.responses import Response

from service.errors import NotFound

router = APIRouter(include_in_schema=False)

MEDIA_TYPES = {"index.html": "text/html; charset=utf-8", "page.css": "text/css", "page.js": "text/javascript"}


@router.get("/")
async def page() -> Response:
    """Return the web page."""
    return asset("index.html")


@router.get("/web/{name}")
async def asset_of_page(name: str) -> Response:
    """Return a file of the web page."""
    return asset(name)


def asset(name: str) -> Response:
    """Return a file of the web page.

    Raises:
        NotFound: If there is no file of that name.
    """
    if name not in MEDIA_TYPES:
        raise NotFound("There is nothing at this address.")
    return Response((resources.files("service") / "web" / name).read_bytes(), media_type=MEDIA_TYPES[name])
