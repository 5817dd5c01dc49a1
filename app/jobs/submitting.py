"""How a job gets into the queue: its photo first, then all the rest in one script.

Photos wait in Redis' memory, so jobs are refused by number and by memory: when Redis uses more than a share of its
`maxmemory`. That asks Redis what it uses instead of counting bytes of our own, because such a count would know nothing
of results, of uploads that expire, nor of other users of the server, and would be wrong for ever after one mistake.
A job whose photo is stored already (an upload of a batch) takes no more memory, so it is refused by number alone: were
it refused by memory, the photos that wait would keep themselves from being worked off.
"""

from __future__ import annotations

import time

from app.errors import BatchNotFoundError, InputLostError, QueueFullError, QueueMemoryError, QueueUnavailableError
from app.jobs.codec import encode_job
from app.jobs.idempotency import KeyUse, check_key
from app.jobs.job import Job, JobState
from app.jobs.parts import QueueParts

_ROOMY_SHARE, _ROOMY_S = 0.5, 0.1  # how full the queue may be, and how long ago, to be sure that it is not full


class Submitting(QueueParts):
    """The side of the queue that accepts jobs."""

    _roomy_until_s = 0.0  # by the monotonic clock: no need to look for room before

    async def submit(
        self,
        job: Job,
        image: bytes | None,
        mask: bytes | None = None,
        key: KeyUse | None = None,
        entry: int | None = None,
        *,
        is_first_try: bool = False,
    ) -> Job:
        """Accept a job.

        Args:
            job: A queued job with a fresh id.
            image: Bytes of the upload; None when its batch has stored it, which then is neither replaced nor deleted.
            mask: Bytes of the mask image, or None.
            key: Idempotency key, held by the caller (`IdempotencyKeys.held`); settled together with the job.
            entry: Index in the job's batch; settled together with the job. None for a job of its own.
            is_first_try: Whether the id is new, so that no job can have it.

        Returns:
            The job as it now is (a job that was accepted before, or under the key, is given as it is).

        Raises:
            ValueError: The job is not in state queued.
            QueueFullError: Too many jobs wait, or Redis needs its memory for the jobs it has.
            IdempotencyKeyReusedError: The key belongs to another request.
            IdempotencyInProgressError: The key is held by another request.
            BatchNotFoundError: The batch does not wait for this entry (any more).
            InputLostError: The photo that the batch had stored is gone.
        """
        if job.state is not JobState.QUEUED:
            raise ValueError(f"only a queued job can be submitted, this one is {job.state.value}")
        is_stored = image is None
        # Cheap look first, so that a full queue does not have to take the upload, and what an accepted job has is not
        # replaced; the script decides. Right after another job was accepted the answer is known.
        if not is_first_try or time.monotonic() > self._roomy_until_s:
            word, queued = await self._scripts.room(job.id, is_stored)
            await self._check_room(word, queued)
            if word == "known":
                return await self.get(job.id)
        names = await self._put(job.id, image, mask)
        place = None if entry is None or job.batch_id is None else (job.batch_id, entry)
        word, queued, first = await self._scripts.submit(
            job.id, job.priority, job.created_ms, encode_job(job), key, place, is_stored
        )
        is_roomy = word == "ok" and queued < self.policy.max_queued * _ROOMY_SHARE
        self._roomy_until_s = time.monotonic() + _ROOMY_S if is_roomy else 0.0
        if names and word not in ("ok", "known"):
            await self._blobs.delete(*names)
        await self._check_room(word, queued)
        check_key(word)
        if word == "gone":
            raise BatchNotFoundError(f"The batch {job.batch_id} does not wait for its entry {entry} any more.")
        if word == "lost" and is_stored:
            raise InputLostError("The uploaded photo is no longer stored; submit it again.")
        if word == "lost":
            raise QueueUnavailableError("The upload was deleted before the job was accepted; send it again.")
        return job if word == "ok" else await self.get(first or job.id)

    async def _put(self, job_id: str, image: bytes | None, mask: bytes | None) -> list[str]:
        """Store what there is; gives the names."""
        parts = {self._keys.image(job_id): image, self._keys.mask(job_id): mask}
        given = {name: data for name, data in parts.items() if data is not None}
        try:
            for name, data in given.items():
                await self._blobs.put(name, data, self.policy.upload_ttl_s)
        except QueueMemoryError:
            await self._blobs.delete(*given)  # the photo, when only the mask found no room
            await self._check_room("memory", sum((await self.depth()).values()))
        return list(given)

    async def _check_room(self, word: str, queued: int) -> None:
        if word not in ("full", "memory"):
            return
        bound = self.policy.max_queued
        retry_after_s = await self.pace.time_for_s(max(1, queued - bound + 1) if word == "full" else 1)
        reason = f"{queued} jobs are waiting, the limit is {bound}"
        if word == "memory":
            reason = f"The queue's memory is full ({queued} jobs are waiting)"
        raise QueueFullError(f"{reason}; try again later.", retry_after_s=retry_after_s)
