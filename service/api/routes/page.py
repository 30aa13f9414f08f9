"""GET / and /docs: the page and the reference of the API; and their scripts, styles and vendored libraries under /web."""

from functools import cache

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request) -> Response:
    """Return the web page."""
    return await _file(request, "index.html")


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Return the reference of the API."""
    return await _file(request, "docs.html")


@router.get("/web/{path:path}")
async def file(request: Request, path: str) -> Response:
    """Return a file of the web page."""
    return await _file(request, path)


async def _file(request: Request, path: str) -> Response:
    """Return a file, or 304 if the browser has it. The browser asks each time, so that a new version is used at once."""
    response = await _files().get_response(path, request.scope)
    response.headers["cache-control"] = "no-cache"
    return response


@cache
def _files() -> StaticFiles:
    return StaticFiles(packages=[("service", "web")])
