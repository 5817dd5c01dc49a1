"""What surrounds every request: an id, safe headers, metrics, and an answer when our own code fails."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import internal_error_response
from app.errors import ServiceError
from app.logs import request_context
from app.metrics import record_request
from app.tracing.context import parse_traceparent, trace_id_of
from app.tracing.spans import open_request

logger = logging.getLogger("app.api")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class RequestEnvelope:
    """Outermost middleware. Plain ASGI, so that request and response bodies pass through unbuffered.

    Args:
        app: What it surrounds.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        traceparent = parse_traceparent(headers.getlist("traceparent"))
        span = None if scope["path"] in _PROBES else open_request(traceparent)
        traceparent = traceparent if span is None else span.traceparent
        scope.setdefault("state", {}).update(request_id=request_id, traceparent=traceparent)
        started = time.perf_counter()
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = MutableHeaders(scope=message)
                answered["X-Request-Id"] = request_id
                answered["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            with request_context(request_id, None if traceparent is None else trace_id_of(traceparent)):
                await self._answer(scope, receive, send_on, lambda: status > 0)
        finally:
            # Labels must stay few whatever clients send.
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "other")
            record_request(method, route, status, time.perf_counter() - started)
            if span is not None:
                about = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
                error = str(status) if status >= 500 or not status else None
                span.end(f"{method} {route}", about | {"vlmir.request.id": request_id}, error)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, has_begun: Callable[[], bool]) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            about = {"request_id": scope["state"]["request_id"]}
            # Starlette hides an error that it has an answer for behind one of its own when it is too late for that.
            cause = error.__cause__ if isinstance(error, RuntimeError) else error
            if has_begun() and isinstance(cause, ServiceError):
                logger.warning(
                    "answer to %s %r breaks off: %s", scope["method"], scope["path"], cause.detail, extra=about
                )
                return  # without the rest of the answer, upon which the server closes the connection
            logger.exception("request %s %r failed", scope["method"], scope["path"], extra=about)
            if has_begun():  # half an answer is out; the server must break the connection off
                raise
            await internal_error_response(Request(scope))(scope, receive, send)
