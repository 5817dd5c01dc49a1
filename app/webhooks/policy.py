"""When webhooks are sent again, and when they are given up: numbers and pure functions."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import Settings

SCHEDULE_S = (5.0, 30.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0)
"""Pauses after the first, second, ... failure. Less than 22 hours in all, so that the job is still on record then."""

_LONGEST_RETRY_AFTER_S = 6 * 3600.0
_MOST_PAUSES = 20
_JITTER = 0.2
_MOST_S = 6 * 24 * 3600.0  # an outbox keeps a webhook for a week, and the tries themselves take time too


def parse_schedule(text: str) -> tuple[float, ...]:
    """Read pauses in seconds, comma-separated.

    Raises:
        ValueError: An item is no number of seconds, there are too many, or the last try might come after six days.
    """
    pauses = tuple(float(item) for item in text.split(",") if item.strip())
    wrong = next((pause for pause in pauses if not 0.0 <= pause <= _MOST_S), None)
    if wrong is not None or not 1 <= len(pauses) <= _MOST_PAUSES:
        got = f"{len(pauses)} pauses" if wrong is None else f"a pause of {wrong:g} s"
        raise ValueError(f"got {got}, expected 1 to {_MOST_PAUSES} pauses of 0 s to {_MOST_S:.0f} s (6 days)")
    longest_s = sum(max(pause * (1.0 + _JITTER), _LONGEST_RETRY_AFTER_S) for pause in pauses)
    if longest_s > _MOST_S:
        raise ValueError(
            f"got pauses that may take {longest_s / 86400:.2f} days in all, expected at most 6; each counts a fifth "
            "longer, for the jitter, and as 6 hours at least, for which a receiver may ask. Give fewer or shorter ones"
        )
    return pauses


@dataclass(frozen=True)
class WebhookPolicy:
    """Bounds of sending.

    Attributes:
        schedule_s: Pauses after the first, second, ... failure; after one more failure an event is given up.
        jitter: Largest part by which a pause is made longer or shorter, so that events do not come back all at once.
        timeout_s: Longest time for one try, in seconds: connection, request and the head of the answer.
        at_once: Tries at a time in one process; 0 sends nothing from it.
        at_once_per_endpoint: Those to one host, on behalf of one tenant.
        endpoint_pause_s: Longest time for which a host that did not answer is left alone, for all events to it.
        lease_s: Time after which an event whose sender disappeared is tried again; above `timeout_s`.
    """

    schedule_s: tuple[float, ...] = SCHEDULE_S
    jitter: float = _JITTER
    timeout_s: float = 15.0
    at_once: int = 16
    at_once_per_endpoint: int = 4
    endpoint_pause_s: float = 60.0
    lease_s: float = 45.0

    @classmethod
    def of(cls, settings: Settings) -> WebhookPolicy:
        """Give the policy that the settings ask for."""
        timeout_s = settings.webhook_timeout_s
        return cls(
            schedule_s=parse_schedule(settings.webhook_schedule_s),
            timeout_s=timeout_s,
            at_once=settings.webhooks_at_once,
            lease_s=timeout_s + 30.0,
        )

    def pause_s(self, failures: int, retry_after_s: float | None, chance: random.Random) -> float | None:
        """Give the time until the next try, or None when there is to be none.

        Args:
            failures: Tries that failed, at least 1.
            retry_after_s: What the receiver asked for, or None; a shorter pause than the schedule's is not made.
            chance: Source of the jitter.
        """
        if failures > len(self.schedule_s):
            return None
        pause = self.schedule_s[failures - 1] * (1.0 + chance.uniform(-self.jitter, self.jitter))
        return max(pause, min(retry_after_s or 0.0, _LONGEST_RETRY_AFTER_S))


def read_retry_after(value: str, now_s: float) -> float | None:
    """Give the seconds of a Retry-After header (RFC 9110: a number, or a date), or None for anything else."""
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for offsets from UTC of any number of digits
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.fromtimestamp(now_s, timezone.utc)).total_seconds())
