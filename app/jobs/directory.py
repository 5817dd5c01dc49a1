"""Looking for jobs: a tenant's listing, page by page, and the place of a job in the queue.

The listing lies in sorted sets that the scripts keep up with every change of state (`lua/prelude.lua`), newest job
first. A page is asked for by a place in that order and not by a number of jobs to pass over, so jobs that come or
go between two pages neither double nor hide others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.jobs.codec import CodecError, decode_job
from app.jobs.connection import call
from app.jobs.job import Job, JobState

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from app.jobs.keys import Keys
    from app.jobs.scripts import Scripts

MAX_PAGE = 200
"""Most jobs of one page."""
LOOK_AT = 2000
"""Most records that one page looks at, so that a rare filter does not hold Redis up; such a page comes short."""


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are wanted; None means any.

    Attributes:
        states: States as they read now, "expired" among them.
        priority: "interactive" or "batch".
        model: Name of the model that works on it, or that it asks for before one does.
        is_default_model: Whether `model` is the one for jobs that name none.
        since_ms: Earliest time of acceptance (`Job.created_ms`).
        until_ms: Time of acceptance before which they lie.
    """

    states: frozenset[JobState] | None = None
    priority: str | None = None
    model: str | None = None
    is_default_model: bool = False
    since_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True)
class ListedJob:
    """A job of a page.

    Attributes:
        job: As it is now.
        position: Its place in the queue, 1 for the next; None when it does not wait.
    """

    job: Job
    position: int | None


@dataclass(frozen=True)
class JobPage:
    """A part of the listing.

    Attributes:
        jobs: Newest first. Possibly fewer than asked for, or none, although more follow.
        last: Place to go on from (`Directory.page`), or None at the end.
    """

    jobs: tuple[ListedJob, ...]
    last: str | None


class Directory:
    """The listing of one queue.

    Args:
        redis: Client that gives bytes.
        keys: Names of the keys.
        scripts: The scripts of the queue.
    """

    def __init__(self, redis: Redis, keys: Keys, scripts: Scripts) -> None:
        self._redis, self._keys, self._scripts = redis, keys, scripts

    async def page(self, tenant: str, wanted: JobFilter, limit: int, after: str | None = None) -> JobPage:
        """Give the newest jobs, or those that follow a place.

        Args:
            tenant: Whose jobs.
            wanted: Which of them.
            limit: Most jobs, 1..`MAX_PAGE`.
            after: `JobPage.last` of the page before; None begins with the newest.

        Raises:
            ValueError: The limit is out of range.
            QueueUnavailableError: Redis cannot be reached.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise ValueError(f"limit is {limit}; expected 1 to {MAX_PAGE}")
        states = wanted.states if wanted.states is not None else frozenset(JobState)
        # Expired is no state of a record but how one reads after a time.
        stored = {JobState.SUCCEEDED if state is JobState.EXPIRED else state for state in states}
        last, rows = await self._scripts.page(
            tenant,
            ",".join(sorted(state.value for state in stored)),
            ",".join(sorted(state.value for state in states)),
            _upper_bound(wanted.until_ms, after),
            "-" if wanted.since_ms is None else f"[{_place(wanted.since_ms)}",
            limit,
            LOOK_AT,
            wanted.priority or "",
            wanted.model or "",
            int(wanted.is_default_model),
        )
        now_ms = await server_ms(self._redis) if rows else 0
        jobs = []
        for fields, position in rows:
            try:
                job = decode_job(fields).seen_at(now_ms)
            except CodecError:
                continue  # of another release; asking for it alone says so
            jobs.append(ListedJob(job, position or None))
        return JobPage(tuple(jobs), last or None)

    async def position(self, job: Job) -> int | None:
        """Give the place of a job in the queue, 1 for the next, or None when it does not wait.

        Workers take interactive jobs first, so these count as ahead of every batch job, although now and then one of
        those is taken before.

        Raises:
            QueueUnavailableError: Redis cannot be reached.
        """
        if job.state is not JobState.QUEUED:
            return None
        rank = await call(self._redis, "ZRANK", self._keys.queued(job.priority), job.id)
        if rank is None:
            return None
        ahead = await call(self._redis, "ZCARD", self._keys.queued("interactive")) if job.priority == "batch" else 0
        return int(rank) + 1 + int(ahead)


async def server_ms(redis: Redis) -> int:
    """Give the time by the server's clock in UTC milliseconds."""
    seconds, micros = await call(redis, "TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def _upper_bound(until_ms: int | None, after: str | None) -> str:
    bounds = [] if after is None else [after]
    if until_ms is not None:
        bounds.append(_place(until_ms))
    return f"({min(bounds)}" if bounds else "+"


def _place(utc_ms: int) -> str:
    """Give a time as the listing orders it: thirteen digits, which last until the year 2286."""
    return f"{min(max(0, utc_ms), 10**13 - 1):013d}"
