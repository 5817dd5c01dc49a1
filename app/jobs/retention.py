"""What becomes of photos after their time, and before it when somebody wants them gone."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from app.errors import QueueUnavailableError
from app.jobs.connection import call
from app.jobs.objects import SWEEP_LIMIT, ObjectBlobStore

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from app.jobs.blobs import BlobStore
    from app.jobs.job import Job
    from app.jobs.keys import Keys

logger = logging.getLogger(__name__)

SWEEP_EVERY_S = 5.0


class Retention:
    """Deletes the photos of one queue.

    Args:
        redis: Client that gives bytes.
        keys: Names of the keys.
        blobs: Where photos are.
    """

    def __init__(self, redis: Redis, keys: Keys, blobs: BlobStore) -> None:
        self._redis, self._keys, self._blobs = redis, keys, blobs

    async def delete(self, job: Job) -> bool:
        """Delete all photos of a job that is over: upload, mask, and the results of all attempts.

        Returns:
            Whether all is gone now; what is not, because the object store did not answer, is deleted by a sweep.

        Raises:
            QueueUnavailableError: Redis cannot be reached.
        """
        results = [self._keys.result(job.id, fence) for fence in range(1, job.attempt + 1)]
        return await self._blobs.delete(self._keys.image(job.id), self._keys.mask(job.id), *results)

    async def sweep(self) -> int:
        """Delete photos in the object store that are past their time, some of them; gives how many there were.

        Raises:
            QueueUnavailableError: Redis or the store cannot be reached; the rest is deleted later.
        """
        return await self._blobs.sweep() if isinstance(self._blobs, ObjectBlobStore) else 0

    async def run(self) -> None:
        """Sweep for ever; any number of processes may do so."""
        if not isinstance(self._blobs, ObjectBlobStore):
            await self._warn_of_strangers()
            return
        while True:
            swept = 0
            try:
                swept = await self.sweep()
            except QueueUnavailableError as error:
                logger.warning("photos that are past their time are left for later: %s", error.detail)
            except Exception:
                logger.exception("photos that are past their time cannot be deleted")
            if swept < SWEEP_LIMIT:
                await asyncio.sleep(SWEEP_EVERY_S)

    async def _warn_of_strangers(self) -> None:
        try:
            left = int(await call(self._redis, "ZCARD", self._keys.objects))
        except QueueUnavailableError:
            return
        if left:
            logger.warning(
                "%d photos are in an object store that VLMIR_STORAGE no longer names, and nobody deletes them; "
                "name it again until they are gone, or delete them there",
                left,
            )
