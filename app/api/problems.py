"""Every error as an RFC 9457 problem document, whatever raised it."""

from __future__ import annotations

import logging
import math
import reprlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.access.errors import RateLimitedError
from app.errors import (
    InvalidOptionError,
    JobFailedError,
    NotAcceptableError,
    ResultNotReadyError,
    ServiceError,
    UnknownModelError,
)
from app.metrics import record_refused

logger = logging.getLogger("app.api")

MEDIA_TYPE = "application/problem+json"

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# Codes for what the web framework refuses by itself.
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "upload_too_large"}


class Problem(BaseModel):
    """An error, as RFC 9457 describes it, with a stable `code` to branch on."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Where the kind of problem is described.")
    title: str = Field(description="What kind of problem it is, the same for every occurrence.")
    status: int = Field(description="HTTP status code.")
    detail: str = Field(description="What went wrong this time and what to do.")
    instance: str = Field(description="Path of the request.")
    code: str = Field(description="Stable word of the kind of problem.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    request_id: str = Field(description="Id of the request, also in the X-Request-Id header and in the log.")


class ParametersError(InvalidOptionError):
    """One or more options are not valid.

    Args:
        errors: One entry per option, with `field` and `message`.
    """

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{error['field']}: {error['message']}" for error in errors))
        self.errors = errors


def problem_response(
    request: Request,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    retryable: bool = False,
    retry_after_s: float | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """Give a problem document as a response.

    Args:
        request: The request that met the problem.
        status: HTTP status code.
        code: Stable word.
        title: What kind of problem it is.
        detail: What went wrong this time.
        retryable: Whether the same request may succeed later.
        retry_after_s: Seconds for the Retry-After header, or None.
        headers: Further headers.
        more: Further members of the document.
    """
    problem = Problem(
        type=f"{request.scope.get('root_path', '').rstrip('/')}/errors#{code}",
        title=title,
        status=status,
        detail=detail,
        instance=_path_of(request),
        code=code,
        retryable=retryable,
        request_id=getattr(request.state, "request_id", ""),
        **more,
    )
    extra = dict(headers or {})
    if retry_after_s is not None:
        extra["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    return JSONResponse(problem.model_dump(), status, headers=extra, media_type=MEDIA_TYPE)


def _path_of(request: Request) -> str:
    """Give the path as it was sent, made safe for a JSON text."""
    raw = request.scope.get("raw_path") or request.url.path.encode("utf-8", "replace")
    return quote(raw, safe="/%:@!$&'()*+,;=~")


def error_response(request: Request, error: ServiceError, status: int | None = None) -> JSONResponse:
    """Give the problem document of one of our errors, with another status than its own if one is given."""
    more: dict[str, Any] = {}
    if isinstance(error, ResultNotReadyError):
        more["state"] = error.state
    if isinstance(error, JobFailedError):
        more["error_code"] = error.error_code
    if isinstance(error, ParametersError):
        more["errors"] = error.errors
    if isinstance(error, RateLimitedError):
        more["violated-policies"] = [error.violated]
    if isinstance(error, UnknownModelError | NotAcceptableError):
        more["available"] = list(error.available)
    return problem_response(
        request,
        status=status or error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        retryable=error.retryable,
        retry_after_s=error.retry_after_s,
        **more,
    )


def internal_error_response(request: Request) -> JSONResponse:
    """Give the answer to a request that met a bug; it tells the request id and nothing of the error."""
    return problem_response(
        request,
        status=500,
        code="internal_error",
        title="Internal error",
        detail="The service met an unexpected error. It was logged under this request id.",
    )


def add_problem_handlers(app: FastAPI) -> None:
    """Make an app answer every error with a problem document."""

    async def on_service_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, ServiceError):
            raise error
        if error.status >= 500:
            logger.warning("%s %s: %s", request.method, _path_of(request), error.detail)
        if request.method == "POST":
            record_refused(error.code)
        return error_response(request, error)

    async def on_http_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed_methods(request))
        return problem_response(
            request,
            status=error.status_code,
            code=_HTTP_CODES.get(error.status_code, "invalid_request"),
            title=HTTPStatus(error.status_code).phrase,
            detail=_http_detail(request, error, headers),
            headers=headers,
        )

    async def on_validation_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            raise error
        return error_response(request, ParametersError([_explain(item) for item in error.errors()]))

    app.add_exception_handler(ServiceError, on_service_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)


def _explain(item: Mapping[str, Any]) -> dict[str, str]:
    # The place is ("query", "state", 0): where it was given, its name, and which of several values it is.
    place = [str(part) for part in item["loc"]]
    field = place[1] if len(place) > 1 else ".".join(place)
    got = item.get("input")
    shown = got if isinstance(got, str) else reprlib.repr(got)
    return {"field": field[:64], "message": f"{item['msg']}; got {shown[:64]!r}"}


def _allowed_methods(request: Request) -> list[str]:
    """List the methods that a path takes; the framework names those of the first route that has it alone."""
    routes = request.app.router.routes
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    return [
        method for method, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)
    ]


def _http_detail(request: Request, error: HTTPException, headers: Mapping[str, str]) -> str:
    if error.status_code == 404:
        return f"There is nothing at {_path_of(request)}; /docs lists what there is."
    if error.status_code == 405:
        return f"{_path_of(request)} does not take {request.method}; it takes {headers['Allow']}."
    return str(error.detail)
