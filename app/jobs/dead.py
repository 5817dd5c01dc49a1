"""Jobs that failed on every delivery, for an operator to look at, to have tried again, or to give up.

Such a job is terminal like any other that failed. Beside its record there is an entry in the dead stream that says
why, and its photo is kept for `QueuePolicy.dead_ttl_s`, unless Redis needs the memory for new jobs before. Until then a
retry may begin a new life of the job; see `lua/dead_retry.lua` for what that means.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import InputLostError, JobNotFoundError, QueueFullError, ServiceError

if TYPE_CHECKING:
    from app.jobs.claim import QueuePolicy
    from app.jobs.scripts import Scripts

PAGE = 100
"""Dead jobs that are read at a time."""


class JobNotDeadError(ServiceError):
    """The job is none of those that failed on every delivery (any more)."""

    code = "job_not_dead"
    status = 409
    title = "The job is not dead"


@dataclass(frozen=True)
class DeadJob:
    """A job that failed on every delivery.

    Attributes:
        job_id: Its id.
        entry_id: Its place in the dead stream.
        code: Stable code of the last failure.
        detail: Sentence about it.
        deliveries: Workers that had taken it.
        at_ms: When it died (server clock, UTC milliseconds).
        is_retryable: Whether its photo is still there for another try.
        record: Fields of the job's record; empty when that is gone. Not decoded: a record of another release, which no
            worker could read, is one of the reasons why a job may be here.
    """

    job_id: str
    entry_id: str
    code: str
    detail: str
    deliveries: int
    at_ms: int
    is_retryable: bool
    record: Mapping[str, str]

    @property
    def tenant(self) -> str:
        """Whose job it is."""
        return self.record.get("tenant", "default")


class DeadJobs:
    """The dead jobs of one queue. All methods raise `QueueUnavailableError` while Redis cannot work.

    Args:
        scripts: The scripts of the queue.
        policy: Times and bounds.
    """

    def __init__(self, scripts: Scripts, policy: QueuePolicy) -> None:
        self._scripts, self._policy = scripts, policy

    async def page(self, limit: int, before: str | None = None) -> list[DeadJob]:
        """Give the newest dead jobs, or those that died before one of them; fewer than `limit` only at the end.

        Args:
            limit: Most jobs, at least 1.
            before: `DeadJob.entry_id` of the last one that is known; None begins with the newest.
        """
        if limit < 1:
            raise ValueError(f"limit is {limit}; expected at least 1")
        rows = await self._scripts.dead_page(before or "", limit)
        return [_dead_job(entry, _text(about), _text(record), can) for entry, about, record, can in rows]

    async def all(self) -> AsyncIterator[DeadJob]:
        """Give every dead job, newest first; one that dies meanwhile is not among them."""
        last: str | None = None
        while found := await self.page(PAGE, last):
            for dead in found:
                yield dead
            last = found[-1].entry_id

    async def get(self, job_id: str) -> DeadJob:
        """Give a dead job.

        Raises:
            JobNotDeadError: No dead job has this id.
        """
        async for dead in self.all():
            if dead.job_id == job_id:
                return dead
        raise _not_dead(job_id)

    async def retry(self, job_id: str) -> None:
        """Put a dead job back into the queue as if it had just been accepted, with all its deliveries before it.

        Raises:
            JobNotFoundError: No job has this id (any more).
            JobNotDeadError: The job is not dead.
            InputLostError: Its photo is gone.
            QueueFullError: Too many jobs wait.
        """
        word, queued = await self._scripts.dead_retry(job_id)
        self._check(word, job_id)
        if word == "lost":
            raise InputLostError(
                f"The photo of job {job_id} is gone: it is kept for {self._policy.dead_ttl_s} s (VLMIR_DEAD_TTL_S), "
                "and less when Redis needs the memory for new jobs. Submit the photo again."
            )
        if word == "full":
            raise QueueFullError(
                f"{queued} jobs are waiting, the limit is {self._policy.max_queued} (VLMIR_MAX_QUEUED); job {job_id} "
                "stays where it is, try again later."
            )

    async def drop(self, job_id: str) -> None:
        """Give up a dead job: its photo goes now (from an object store within seconds), its record after its time.

        Raises:
            JobNotFoundError: No job has this id (any more).
            JobNotDeadError: The job is not dead.
        """
        self._check(await self._scripts.dead_drop(job_id), job_id)

    def _check(self, word: str, job_id: str) -> None:
        if word == "unknown":
            raise JobNotFoundError(f"No job has the id {job_id!r}; records are deleted some time after the end.")
        if word == "alive":
            raise _not_dead(job_id)


def _not_dead(job_id: str) -> JobNotDeadError:
    return JobNotDeadError(
        f"The job {job_id!r} is not dead: only one that failed on every delivery, and was neither retried nor dropped "
        "since, is; `vlmir dead ls` lists those there are."
    )


def _dead_job(entry_id: str, about: Mapping[str, str], record: Mapping[str, str], is_retryable: bool) -> DeadJob:
    return DeadJob(
        job_id=about["job"],
        entry_id=entry_id,
        code=about["code"],
        detail=about["detail"],
        deliveries=int(about["deliveries"]),
        at_ms=int(about["at_ms"]),
        is_retryable=is_retryable,
        record=record,
    )


def _text(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode(errors="replace") for name, value in fields.items()}
