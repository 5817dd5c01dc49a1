"""The base of all errors that have a stable public code."""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """Base of all errors with a public code.

    Class attributes give the defaults of a kind of error; the instance adds what happened this time.

    Args:
        detail: What went wrong here, what was expected and what to do, for people.
        retry_after_s: Seconds after which trying again makes sense; None gives the default of the class.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: bool = False
    is_lasting: bool = False
    """Whether a process that meets it when it starts would meet it again, until somebody puts something right."""
    default_retry_after_s: ClassVar[float | None] = None

    def __init__(self, detail: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.retry_after_s = retry_after_s if retry_after_s is not None else self.default_retry_after_s
