"""Calls from web pages of other origins: who may, what they may send, and what of an answer they see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import ASGIApp

METHODS = ("GET", "HEAD", "POST", "DELETE")
SENT = (
    "Authorization",
    "X-API-Key",
    "Content-Type",
    "Idempotency-Key",
    "Prefer",
    "Last-Event-ID",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Range",
    "X-Request-Id",
    "traceparent",
    "tracestate",
)
"""Headers that pages may send."""
SHOWN = (
    "Location",
    "Link",
    "Retry-After",
    "X-Job-Id",
    "X-Request-Id",
    "ETag",
    "Accept-Ranges",
    "Content-Range",
    "Content-Disposition",
    "Content-Location",
    "Preference-Applied",
    "Idempotent-Replayed",
    "RateLimit",
    "RateLimit-Policy",
    "WWW-Authenticate",
)
"""Headers of answers that pages may read, beside those that they always may."""
KEEP_S = 600
"""Time for which a browser need not ask again."""


class CorsMiddleware(CORSMiddleware):
    """Starlette's, with the headers of this API, no cookies, and no text of its own for pages that may not call.

    Args:
        app: What it surrounds.
        origins: Who may call; "*" alone is everybody.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=SENT,
            expose_headers=SHOWN,
            max_age=KEEP_S,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a browser that asks before it sends; one that gets no permission in it does not send."""
        told = super().preflight_response(request_headers)
        headers = {name: value for name, value in told.headers.items() if not name.startswith("content-")}
        return Response(status_code=204, headers=headers)
