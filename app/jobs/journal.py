"""Reading what happened to a job: its events, from the first or from any of them on."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.jobs.connection import call
from app.jobs.job import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

    from app.jobs.keys import Keys

MOST_AT_ONCE = 100
_EVENT_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_LARGEST = 2**64 - 1


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job.

    Attributes:
        id: Rises with every event of the job; an id of Redis Streams.
        type: "state", "progress" or "preview".
        data: What happened; `at_ms` says when (UTC milliseconds of the Redis server's clock).
        blob: The small picture of a preview, else None.
    """

    id: str
    type: str
    data: Mapping[str, Any]
    blob: bytes | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether it is the end of the job, so that none can follow; a retry by an operator begins events anew."""
        return self.type == "state" and JobState(self.data["state"]).is_terminal


class Journal:
    """The events of the jobs of one queue.

    Args:
        redis: Client that gives bytes.
        keys: Names of the keys.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis, self._keys = redis, keys

    async def read(self, job_id: str, after: str | None = None) -> list[JobEvent]:
        """Give the next events, at most `MOST_AT_ONCE`, oldest first; empty when there are no more by now.

        A job keeps the newest `QueuePolicy.event_maxlen` events for as long as its record.

        Args:
            job_id: The job.
            after: Id of the last event that is known; None begins with the first.

        Raises:
            ValueError: `after` is no id of an event.
            QueueUnavailableError: Redis cannot be reached.
        """
        if after is not None and not is_event_id(after):
            raise ValueError(f"{after!r} is no id of an event; expected two numbers with a dash, such as 1700000000-0")
        first = "-" if after is None else f"({after}"
        rows = await call(self._redis, "XRANGE", self._keys.events(job_id), first, "+", "COUNT", MOST_AT_ONCE)
        return [_event_of(entry_id, fields) for entry_id, fields in rows]


def is_event_id(text: str) -> bool:
    """Say whether a text has the form of an id of an event."""
    match = _EVENT_ID.fullmatch(text)
    return match is not None and all(int(number) <= _LARGEST for number in match.groups())


def _event_of(entry_id: bytes, fields: Mapping[bytes, bytes]) -> JobEvent:
    return JobEvent(entry_id.decode(), fields[b"type"].decode(), json.loads(fields[b"data"]), fields.get(b"bytes"))
