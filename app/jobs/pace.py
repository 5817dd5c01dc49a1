"""How fast jobs end, so that whoever is refused can be told when to come back.

`conclude` in `lua/prelude.lua` keeps a running mean of the time from one end to the next while other jobs waited, over
about the last twenty ends of all workers together. Times without work are left out: they say nothing about the pace.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.jobs.connection import call
from app.jobs.directory import server_ms

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from app.jobs.keys import Keys

LONGEST_S = 600
"""Longest time that anybody is told to stay away."""


class Pace:
    """Reads the pace of one queue.

    Args:
        redis: Client that gives bytes.
        keys: Names of the keys.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis, self._name = redis, keys.pace

    async def time_for_s(self, jobs: int) -> float | None:
        """Give the seconds in which this many jobs will have ended, 1..`LONGEST_S`; None while no pace is known.

        Args:
            jobs: Number of jobs, at least 1.

        Raises:
            QueueUnavailableError: Redis cannot be reached.
        """
        row = await call(self._redis, "HMGET", self._name, "ends", "busy_ms", "at_ms", "waited")
        if row[0] is None or float(row[0]) <= 0:
            return None
        ends, busy_ms, at_ms = (float(value) for value in row[:3])
        # When the next end lets itself be waited for (workers are gone, jobs became larger), that counts already.
        pending_ms = await server_ms(self._redis) - at_ms if row[3] == b"1" else 0.0
        each_ms = max(busy_ms / ends, (busy_ms + pending_ms) / (ends + 1))
        return float(min(LONGEST_S, max(1, math.ceil(jobs * each_ms / 1000))))
