"""What a caller wants to be told, and where: plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

WEBHOOK_EVENTS = ("job.succeeded", "job.failed", "job.canceled", "entry.refused")
"""Everything that can be told. The first three are the ends of jobs; the last is a photo of a batch without a job."""


def parse_webhook_events(names: Iterable[str]) -> tuple[str, ...]:
    """Give events in the order of `WEBHOOK_EVENTS`, each once.

    Raises:
        ValueError: A name is none of `WEBHOOK_EVENTS`, or there is none at all.
    """
    given = {name.strip() for name in names}
    unknown = sorted(given.difference(WEBHOOK_EVENTS))
    if unknown or not given:
        got = f"there is no event {unknown[0][:64]!r}" if unknown else "no event is named"
        raise ValueError(f"{got}; there are {', '.join(WEBHOOK_EVENTS)}")
    return tuple(event for event in WEBHOOK_EVENTS if event in given)


@dataclass(frozen=True)
class Webhook:
    """Where a caller wants to be told what.

    Attributes:
        url: Address that takes POST requests.
        events: What is told there, in the order of `WEBHOOK_EVENTS`.
    """

    url: str
    events: tuple[str, ...] = WEBHOOK_EVENTS
