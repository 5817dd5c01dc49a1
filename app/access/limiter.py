"""Holds tenants to their limits, over all API processes together: the counts are in Redis, one script each."""

from __future__ import annotations

import contextlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib import resources
from typing import TYPE_CHECKING, Any

from app.access.errors import QuotaExceededError, RateLimitedError
from app.access.limits import DAILY_JOBS, RATE, Limits, Standing
from app.errors import QueueUnavailableError
from app.jobs.connection import call, translated_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from app.jobs.keys import Keys

CACHE_S = 5.0
"""Time for which a process remembers a tenant's limits."""
_CACHED = 1024


class Limiter:
    """Counts what tenants hand in. All methods raise `QueueUnavailableError` while Redis cannot work.

    A tenant without any bound costs nothing but a look at its limits every few seconds.

    Args:
        redis: Client that gives bytes.
        keys: Names of the service's keys in Redis.
        default: Limits of tenants that have none of their own.
        clock: Seconds that only go forward.
    """

    def __init__(self, redis: Redis, keys: Keys, default: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        folder = resources.files("app.access") / "lua"
        self._redis, self._default, self._clock = redis, default, clock
        self._limits = f"{keys.prefix}limits"
        self._rate, self._quota = f"{keys.prefix}rate:", f"{keys.prefix}quota:"
        self._scripts = {
            name: redis.register_script((folder / f"{name}.lua").read_text(encoding="utf-8"))
            for name in ("admit", "charge")
        }
        self._known: OrderedDict[str, tuple[Limits, float]] = OrderedDict()

    async def admit(self, tenant: str) -> Standing | None:
        """Count a request that hands something in.

        Returns:
            What the tenant has left; None when nothing bounds it.

        Raises:
            RateLimitedError: There were too many in too short a time.
            QuotaExceededError: Nothing is left of the day's quota.
        """
        limits = await self.limits_of(tenant)
        if not limits.is_bounded:
            return None
        bounds = (limits.rate_per_s, limits.burst, limits.daily_jobs, limits.daily_megapixels)
        keys = [self._rate + tenant, f"{self._quota}{tenant}:"]
        refused, wait_ms, free, full_ms, jobs, megapixels, left_s = await self._run("admit", keys, bounds)
        standing = Standing(limits, free, full_ms, int(float(jobs)), float(megapixels), left_s)
        _check(refused.decode(), standing, wait_ms / 1000)
        return standing

    @asynccontextmanager
    async def charged(self, tenant: str, megapixels: float, standing: Standing | None = None) -> AsyncIterator[None]:
        """Count a job against the tenant's day; it does not count when the block raises an error.

        Args:
            tenant: Whose job.
            megapixels: Size of its photo in millions of pixels.
            standing: What `admit` gave; brought up to date.

        Raises:
            QuotaExceededError: The day's quota does not hold it.
        """
        limits = await self.limits_of(tenant)
        if not limits.has_quota:
            yield
            return
        day = await self._charge(tenant, 1, megapixels, limits, standing or Standing(limits))
        try:
            yield
        except BaseException:
            with contextlib.suppress(QueueUnavailableError):
                await self._charge(tenant, -1, -megapixels, limits, standing or Standing(limits), day)
            raise

    async def limits_of(self, tenant: str) -> Limits:
        """Give a tenant's limits: its own, else the default ones."""
        limits, looked_s = self._known.get(tenant, (self._default, -CACHE_S))
        if self._clock() - looked_s >= CACHE_S:
            text = await call(self._redis, "HGET", self._limits, tenant)
            limits = self._default if text is None else Limits(**json.loads(text))
            self._known[tenant] = (limits, self._clock())
            self._known.move_to_end(tenant)
            if len(self._known) > _CACHED:
                self._known.popitem(last=False)
        return limits

    async def set_limits(self, tenant: str, limits: Limits | None) -> None:
        """Give a tenant limits of its own, or with None the default ones again."""
        self._known.pop(tenant, None)
        if limits is None:
            await call(self._redis, "HDEL", self._limits, tenant)
        else:
            await call(self._redis, "HSET", self._limits, tenant, json.dumps(asdict(limits)))

    async def own_limits(self) -> dict[str, Limits]:
        """Give the tenants with limits of their own, by name."""
        rows = await call(self._redis, "HGETALL", self._limits)
        return {name.decode(): Limits(**json.loads(text)) for name, text in sorted(rows.items())}

    async def _charge(
        self, tenant: str, jobs: int, megapixels: float, limits: Limits, standing: Standing, day: str = ""
    ) -> str:
        words = (jobs, f"{megapixels:.6f}", limits.daily_jobs, limits.daily_megapixels, day)
        refused, now_jobs, now_megapixels, left_s, day_now = await self._run(
            "charge", [f"{self._quota}{tenant}:"], words
        )
        standing.jobs, standing.megapixels = int(float(now_jobs)), float(now_megapixels)
        standing.left_s = left_s
        _check(refused.decode(), standing, 0.0)
        return str(day_now.decode())

    async def _run(self, name: str, keys: list[str], words: tuple[str | int | float, ...]) -> Any:
        with translated_errors():
            return await self._scripts[name](keys=keys, args=list(words))


def _check(refused: str, standing: Standing, wait_s: float) -> None:
    limits = standing.limits
    if refused == RATE:
        raise RateLimitedError(
            f"At most {limits.rate_per_s:g} requests per second may hand something in, {limits.burst} at once.",
            standing=standing,
            retry_after_s=wait_s,
        )
    if refused:
        what = f"{limits.daily_jobs} jobs" if refused == DAILY_JOBS else f"{limits.daily_megapixels:g} megapixels"
        done = standing.jobs if refused == DAILY_JOBS else f"{standing.megapixels:.1f}"
        raise QuotaExceededError(
            f"The quota is {what} per day (UTC), of which {done} are used; this does not fit in.",
            standing=standing,
            violated=refused,
            retry_after_s=standing.left_s,
        )
