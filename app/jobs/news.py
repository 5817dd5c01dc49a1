"""One reader per process that wakes everybody who follows a job.

A blocking read per follower would hold a connection each. Here a single task listens to the channel on which every
script that adds an event names the job, and sets the flags of those who follow it: any number of them costs one
connection, and none when nobody follows. What is said on a channel may be lost with a connection, so a flag only means
"look now": the events themselves are in the job's stream, and followers look there from time to time unasked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from app.errors import QueueUnavailableError
from app.jobs.connection import translated_errors

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

_LISTEN_S = 1.0
_RETRY_S = 1.0


class NewsReader:
    """Fan-in of what is said about jobs.

    Args:
        redis: Client that gives bytes.
        channel: Name of the channel.
    """

    def __init__(self, redis: Redis, channel: str) -> None:
        self._redis = redis
        self._channel = channel
        self._followers: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._complaint = ""  # what was logged last

    @contextmanager
    def follow(self, job_id: str) -> Iterator[asyncio.Event]:
        """Give a flag that is set whenever the job may have new events, until the block ends.

        Clear it before looking, and look once at the beginning. When news may have been missed it is set too.
        """
        flag = asyncio.Event()
        self._followers.setdefault(job_id, set()).add(flag)
        if self._task is None and not self._is_closed:
            self._task = asyncio.create_task(self._read(), name="vlmir-news")
        try:
            yield flag
        finally:
            following = self._followers[job_id]
            following.discard(flag)
            if not following:
                del self._followers[job_id]

    @property
    def followed(self) -> int:
        """Number of jobs that are followed."""
        return len(self._followers)

    async def close(self) -> None:
        """Stop the reader; flags are not set any more."""
        self._is_closed = True
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while self._followers and not self._is_closed:
                await self._try_to_listen()
        finally:
            # No await between the last look at the followers and this line: a later one starts a new reader.
            self._task = None

    async def _try_to_listen(self) -> None:
        try:
            await self._listen()
        except (QueueUnavailableError, ResponseError) as error:
            # Followers go on without: they look by themselves, only later.
            if str(error) != self._complaint:
                self._complaint = str(error)
                logger.warning("no news of jobs; those who follow them look every few seconds: %s", error)
            await asyncio.sleep(_RETRY_S)

    async def _listen(self) -> None:
        with translated_errors():
            async with self._redis.pubsub() as pubsub:
                await pubsub.subscribe(self._channel)
                while self._followers and not self._is_closed:
                    message = await pubsub.get_message(timeout=_LISTEN_S)
                    if message is None:
                        continue
                    if message["type"] == "subscribe":  # also after a connection that broke
                        self._complaint = ""
                        for job_id in self._followers:
                            self._wake(job_id)
                    elif message["type"] == "message":
                        self._wake(message["data"].decode())

    def _wake(self, job_id: str) -> None:
        for flag in self._followers.get(job_id, ()):
            flag.set()
