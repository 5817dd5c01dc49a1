"""The page for people: one HTML file, one script, one style sheet, nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from app.api import error_page

router = APIRouter(include_in_schema=False)

_TYPES = {"app.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@cache
def _read(name: str) -> bytes:
    return files("app.api").joinpath("web").joinpath(name).read_bytes()


@router.get("/")
async def page() -> Response:
    """Give the page."""
    return Response(_read("index.html"), headers=_HEADERS, media_type="text/html")


@router.get("/errors")
async def errors() -> Response:
    """Give the page about every error, to which the `type` of problem documents leads."""
    return Response(error_page.page(), headers=_HEADERS, media_type="text/html")


@router.get("/web/{name}")
async def part(request: Request, name: str) -> Response:
    """Give a part of the page."""
    if name not in _TYPES:
        raise HTTPException(404)
    return Response(_read(name), headers=_HEADERS, media_type=_TYPES[name])
