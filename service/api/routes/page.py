"""GET /: the page, and its style and script under /web."""

from importlib import resources

from fastapi import APIRouter
from starlette.responses import Response

from service.errors import NotFound

router = APIRouter(include_in_schema=False)

MEDIA_TYPES = {"index.html": "text/html; charset=utf-8", "page.css": "text/css", "page.js": "text/javascript"}


@router.get("/")
async def page() -> Response:
    """The page: drop a picture, look at the result beside it, download it."""
    return asset("index.html")


@router.get("/web/{name}")
async def asset_of_page(name: str) -> Response:
    """One of the page's files."""
    return asset(name)


def asset(name: str) -> Response:
    """A file of the package.

    Raises:
        NotFound: If there is none of that name.
    """
    if name not in MEDIA_TYPES:
        raise NotFound("There is nothing at this address.")
    return Response((resources.files("service") / "web" / name).read_bytes(), media_type=MEDIA_TYPES[name])
