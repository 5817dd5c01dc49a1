"""Reading a result piece by piece, so that no process holds a large photo for every caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import ResultGoneError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.jobs.blobs import BlobStore
    from app.jobs.job import Job
    from app.jobs.keys import Keys

CHUNK_BYTES = 256 * 1024


class ResultReader:
    """The results of one queue.

    Args:
        blobs: Where results are.
        keys: Names of the keys.
    """

    def __init__(self, blobs: BlobStore, keys: Keys) -> None:
        self._blobs, self._keys = blobs, keys

    async def size(self, job: Job) -> int:
        """Give the number of bytes of the result of a succeeded job.

        Raises:
            ResultGoneError: It was deleted after its time.
            QueueUnavailableError: Redis cannot be reached.
        """
        size = await self._blobs.size(self._keys.result(job.id, job.attempt))
        if size is None:
            raise ResultGoneError("The result was deleted after its time; submit the photo again.")
        return size

    async def read(self, job: Job, start: int, stop: int) -> AsyncIterator[bytes]:
        """Give the bytes from `start` up to, not including, `stop`, in pieces.

        A result never changes, so pieces that are read at different times fit together.

        Raises:
            ResultGoneError: It was deleted meanwhile; what was given before is not the whole.
            QueueUnavailableError: Redis cannot be reached.
        """
        name, step = self._keys.result(job.id, job.attempt), self._blobs.part_bytes or CHUNK_BYTES
        while start < stop:
            data = await self._blobs.part(name, start, min(stop, start + step))
            if not data:
                raise ResultGoneError("The result was deleted while it was being read; submit the photo again.")
            yield data
            start += len(data)

    async def signed_url(self, job: Job, seconds: int) -> str | None:
        """Give a link by which anybody can get the result for a time, or None where the store cannot sign.

        Raises:
            QueueUnavailableError: Redis or the store cannot be reached.
        """
        return await self._blobs.signed(self._keys.result(job.id, job.attempt), seconds)
