"""Who is let in: every path needs a key with the right scope, but for a few that anybody may see.

It is a middleware and not a dependency of each route, so that a route that is added later is closed until somebody
opens it here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from app.access.errors import (
    AuthenticationRequiredError,
    InsufficientScopeError,
    InvalidApiKeyError,
    RateLimitedError,
)
from app.access.keys import DEFAULT_TENANT, PREFIX
from app.api.problems import error_response
from app.errors import ServiceError

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from app.access.keys import ApiKey
    from app.access.limits import Standing
    from app.api.deps import Services

logger = logging.getLogger("app.api")

PUBLIC = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json", "/errors"})
"""Paths that anybody may see: what probes ask, the description, the page (which holds nothing by itself)."""
PUBLIC_PREFIX = "/web/"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class AccessGate:
    """Finds out on whose behalf a request comes and whether it may do what it asks for.

    Puts `tenant` into the state of the request, and `standing` when limits bound the tenant.

    Args:
        app: What it guards; its state has the services.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 401, 403 or 429."""
        if scope["type"] == "http" and not is_public(route_path(scope)):
            services: Services = scope["app"].state.services
            try:
                standing = await self._admit(scope, services)
            except ServiceError as error:
                await _refusal(Request(scope), error)(scope, receive, send)
                return
            if standing is not None:
                scope["state"]["standing"] = standing
                send = _telling(standing, send)
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, services: Services) -> Standing | None:
        state, headers = scope.setdefault("state", {}), Headers(scope=scope)
        token = read_token(headers, takes_others=services.access.is_open)
        if token is None:
            if not services.access.is_open:
                raise AuthenticationRequiredError(
                    "Send an API key as `Authorization: Bearer vlmir_...`; the operator makes one with "
                    "`vlmir keys create`."
                )
            if services.access.pages is not None:
                services.access.pages.check(scope["method"], headers.get("host", ""), headers.get("origin"))
            state["tenant"] = DEFAULT_TENANT
        else:
            key = await services.access.keyring.find(token)
            _check_scope(key, needed_scope(scope["method"], route_path(scope)))
            state["tenant"] = key.tenant
        # Whatever hands work in is a POST; before its body is read.
        return await services.access.limiter.admit(state["tenant"]) if scope["method"] == "POST" else None


def standing_of(request: Request) -> Standing | None:
    """Give what the tenant of a request has left; None when nothing bounds it."""
    standing: Standing | None = getattr(request.state, "standing", None)
    return standing


def is_public(path: str) -> bool:
    """Say whether a path is for everybody."""
    return path in PUBLIC or path.startswith(PUBLIC_PREFIX)


def needed_scope(method: str, path: str) -> str:
    """Give the scope that a request needs."""
    if path == "/metrics":
        return "metrics:read"
    return "jobs:read" if method in _SAFE else "jobs:write"


def route_path(scope: Scope) -> str:
    """Give the path as the routes know it, without the prefix under which the server runs."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def read_token(headers: Headers, takes_others: bool = False) -> str | None:
    """Read the key of a request: `Authorization: Bearer`, or `X-API-Key`; None without one.

    Args:
        headers: Headers of the request.
        takes_others: Whether credentials that are not ours count as none; where no key is needed, they may be for a
            proxy.

    Raises:
        InvalidApiKeyError: There are credentials of another kind, or two that differ.
    """
    given = {value.strip() for value in headers.getlist("x-api-key")}
    for value in headers.getlist("authorization"):
        scheme, _, token = value.strip().partition(" ")
        given.add(token.strip() if scheme.lower() == "bearer" else f"{scheme} ...")
    if takes_others:
        given = {token for token in given if token.startswith(PREFIX)}
    if len(given) > 1:
        raise InvalidApiKeyError("The request has several API keys. Send one, as `Authorization: Bearer vlmir_...`.")
    return next(iter(given), None)


def _check_scope(key: ApiKey, scope: str) -> None:
    if not key.allows(scope):
        raise InsufficientScopeError(
            f"The API key {key.id} is for {', '.join(sorted(key.scopes))}; this needs {scope}.", scope=scope
        )


def _telling(standing: Standing, send: Send) -> Send:
    """Give a `send` that adds to the answer what is left, as it is by then."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(standing.headers)
        await send(message)

    return send_on


def _refusal(request: Request, error: ServiceError) -> Response:
    response = error_response(request, error)
    if isinstance(error, RateLimitedError) and error.standing is not None:
        response.headers.update(error.standing.headers)
    challenge = 'Bearer realm="vlmir"'
    if isinstance(error, InvalidApiKeyError):
        challenge += ', error="invalid_token"'
    elif isinstance(error, InsufficientScopeError):
        challenge += f', error="insufficient_scope", scope="{error.scope}"'
    if error.status in (401, 403):
        logger.info("%s %r is refused: %s", request.method, request.scope["path"], error.code)
        response.headers["WWW-Authenticate"] = challenge
    return response
