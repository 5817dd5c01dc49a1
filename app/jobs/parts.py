"""What the sides of the queue have in common: connection, names, scripts, and looking at a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from app.errors import JobNotFoundError
from app.jobs.blobs import BlobStore
from app.jobs.claim import QueuePolicy
from app.jobs.codec import decode_job
from app.jobs.connection import call
from app.jobs.directory import server_ms
from app.jobs.job import PRIORITIES
from app.jobs.keys import GROUP
from app.jobs.objects import ObjectBlobStore
from app.jobs.pace import Pace
from app.jobs.scripts import Scripts

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from app.jobs.job import Job
    from app.jobs.keys import Keys
    from app.storage.setup import Storage


class QueueParts:
    """Base of the sides of `app.jobs.queue.JobQueue`.

    Args:
        redis: Client made by `app.jobs.connection.connect`.
        keys: Names of the keys.
        policy: Times and bounds; None gives the defaults.
        storage: Where photos are beside Redis; None for in Redis alone.
    """

    def __init__(
        self, redis: Redis, keys: Keys, policy: QueuePolicy | None = None, storage: Storage | None = None
    ) -> None:
        self.policy = policy or QueuePolicy()
        self._redis = redis
        self._keys = keys
        self._scripts = Scripts(redis, keys, self.policy)
        objects = None if storage is None else storage.objects
        self._blobs = BlobStore(redis) if objects is None else ObjectBlobStore(redis, keys, self._scripts, objects)
        self.pace = Pace(redis, keys)

    async def ensure(self) -> None:
        """Create streams and consumer groups that are missing, from the first entry on."""
        for priority in PRIORITIES:
            await self._ensure_group(self._keys.stream(priority))

    async def _ensure_group(self, stream: str) -> None:
        try:
            # From 0 and not from the end: jobs submitted before the first worker count.
            await call(self._redis, "XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def get(self, job_id: str) -> Job:
        """Give a job as it is now.

        Raises:
            JobNotFoundError: No job has this id (any more).
        """
        fields = await call(self._redis, "HGETALL", self._keys.job(job_id))
        if not fields:
            raise unknown_job(job_id)
        return decode_job(fields).seen_at(await server_ms(self._redis))

    async def depth(self) -> dict[str, int]:
        """Give the number of queued jobs per priority."""
        return {priority: int(await call(self._redis, "ZCARD", self._keys.queued(priority))) for priority in PRIORITIES}


def unknown_job(job_id: str) -> JobNotFoundError:
    """Give the error that says that there is no such job, or none for the one who asks."""
    return JobNotFoundError(f"No job has the id {job_id!r}; records are deleted some time after the end.")
