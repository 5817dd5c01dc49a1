"""Errors of requests that are not let in."""

from __future__ import annotations

from app.errors import ServiceError


class AuthenticationRequiredError(ServiceError):
    """The request brings no API key, and this service takes none without."""

    code = "authentication_required"
    status = 401
    title = "An API key is needed"


class InvalidApiKeyError(ServiceError):
    """The API key is unknown, revoked or past its time."""

    code = "invalid_api_key"
    status = 401
    title = "The API key is not valid"


class InsufficientScopeError(ServiceError):
    """The API key is good, but not for this.

    Args:
        detail: What it lacks.
        scope: The scope that it lacks.
    """

    code = "insufficient_scope"
    status = 403
    title = "The API key does not allow this"

    def __init__(self, detail: str = "", *, scope: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.scope = scope
