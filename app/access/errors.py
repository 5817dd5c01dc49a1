"""Errors of requests that are not let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import ServiceError

if TYPE_CHECKING:
    from app.access.limits import Standing


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


class ForeignPageError(ServiceError):
    """A web page of elsewhere sends the request, and this service, which needs no key, is for its machine alone."""

    code = "foreign_page"
    status = 403
    title = "The request comes from elsewhere"


class RateLimitedError(ServiceError):
    """The tenant sends too much in too short a time.

    Args:
        detail: What the limit is.
        standing: What is left of all limits, for the headers of the answer; None when nobody asked.
        violated: Name of the limit, as in the headers.
        retry_after_s: Seconds after which trying again makes sense.
    """

    code = "rate_limited"
    status = 429
    title = "Too many requests"
    retryable = True
    default_retry_after_s = 1.0

    def __init__(
        self,
        detail: str = "",
        *,
        standing: Standing | None = None,
        violated: str = "rate",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.standing = standing
        self.violated = violated


class QuotaExceededError(RateLimitedError):
    """The tenant's quota for this day does not hold any more."""

    code = "quota_exceeded"
    title = "The quota of this day is used up"
    default_retry_after_s = 3600.0
