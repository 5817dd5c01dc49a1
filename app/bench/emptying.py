"""Emptying the Redis of a service that takes photos and has no worker, so that its memory and its log stay small."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.jobs.connection import call, connect
from app.jobs.queue import JobQueue

if TYPE_CHECKING:
    from redis.asyncio import Redis

_EVERY_S = 0.02


async def empty_redis(url: str) -> None:
    """Delete all that a Redis server of our own holds, in memory and in its log; returns when that is done.

    Raises:
        QueueUnavailableError: It does not answer.
    """
    redis = connect(url)
    queue = JobQueue.from_url(url)
    try:
        await call(redis, "FLUSHALL")
        await queue.ensure()  # the streams, which the service made when it started
        await _await_log(redis)  # a rewriting that began by itself would refuse ours
        await call(redis, "BGREWRITEAOF")
        await _await_log(redis)
    finally:
        await queue.close()
        await redis.aclose()


async def _await_log(redis: Redis) -> None:
    """Return when the server does not rewrite its log."""
    while True:
        about = await call(redis, "INFO", "persistence")
        if not about["aof_rewrite_in_progress"] and not about["aof_rewrite_scheduled"]:
            return
        await asyncio.sleep(_EVERY_S)
