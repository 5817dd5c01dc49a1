"""When a request is sent once more, and after what time."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.client.errors import ServiceUnreachableError, status_of

if TYPE_CHECKING:
    from app.errors import ServiceError

_PASSING = frozenset({429, 502, 503, 504})
_SAFE = frozenset({"GET", "HEAD", "DELETE"})


@dataclass(frozen=True)
class Retries:
    """How often and how fast a request is sent again.

    Only what may be sent twice is sent again: looking, canceling (a second time changes nothing), and handing in a
    photo with an idempotency key.

    Attributes:
        attempts: Times that a request is sent in all, at least 1.
        first_s: Longest first pause in seconds; each further one may be twice as long.
        longest_s: Longest pause in seconds of our own making.
        longest_wait_s: Longest pause that a service may ask for with Retry-After; beyond it the error is raised.
    """

    attempts: int = 4
    first_s: float = 0.2
    longest_s: float = 5.0
    longest_wait_s: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}; expected 1 or more, 1 sends every request once")

    def pause_s(self, error: ServiceError, sent: int) -> float | None:
        """Give the seconds until a request is sent again, or None when its error is final.

        Args:
            error: What came of it.
            sent: Times that it was sent, at least 1.
        """
        # Only a service that answers says when to come back.
        asked_s = 0.0 if isinstance(error, ServiceUnreachableError) else error.retry_after_s or 0.0
        if sent >= self.attempts or not is_passing(error) or asked_s > self.longest_wait_s:
            return None
        return max(self.backoff_s(sent), asked_s)

    def backoff_s(self, failures: int) -> float:
        """Give a pause that grows with the failures in a row, uneven so that many clients do not come in step."""
        longest_s = min(self.longest_s, self.first_s * float(1 << min(failures - 1, 30)))
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def is_passing(error: ServiceError) -> bool:
    """Say whether an error is likely to pass by itself."""
    if isinstance(error, ServiceUnreachableError) or error.code == "idempotency_in_progress":
        return True
    return status_of(error) in _PASSING


def is_repeatable(method: str, headers: dict[str, str]) -> bool:
    """Say whether a request may arrive twice and do no more than once."""
    return method in _SAFE or "Idempotency-Key" in headers
