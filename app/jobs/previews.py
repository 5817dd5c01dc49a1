"""Small pictures of a job in progress, for whoever listens to its events.

A listener says so by a key that expires soon, and workers learn of it with the answers they get anyway: a job without
listeners costs nothing more. Of each job only the newest preview is kept, in its stream of events, and none after its
end: events stay small however many steps there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.jobs.connection import call

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from app.jobs.keys import Keys

MAX_PREVIEW_BYTES = 64 * 1024
"""Largest preview that the queue takes."""


@dataclass(frozen=True)
class Preview:
    """How a photo looks after some steps.

    Attributes:
        step: Steps done, at least 1.
        steps_total: Steps in all.
        width: Of the small picture in pixels.
        height: Of the small picture in pixels.
        media_type: Of `data`.
        data: The small picture as a file, at most `MAX_PREVIEW_BYTES`.
    """

    step: int
    steps_total: int
    width: int
    height: int
    media_type: str
    data: bytes

    def __post_init__(self) -> None:
        if not 0 < len(self.data) <= MAX_PREVIEW_BYTES:
            raise ValueError(
                f"a preview has {len(self.data)} bytes; expected 1 to {MAX_PREVIEW_BYTES}, encode it smaller"
            )


class Listeners:
    """Who listens to the events of a job.

    Args:
        redis: Client that gives bytes.
        keys: Names of the keys.
        listen_ms: Time for which one call of `listen` counts.
    """

    def __init__(self, redis: Redis, keys: Keys, listen_ms: int) -> None:
        self._redis, self._keys, self._listen_ms = redis, keys, listen_ms

    async def listen(self, job_id: str) -> None:
        """Say that somebody listens to a job, from now on for `listen_ms`; see `JobQueue.listen`."""
        await call(self._redis, "SET", self._keys.listening(job_id), 1, "PX", self._listen_ms)
