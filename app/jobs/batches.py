"""Batches: many photos under one id, turned into jobs little by little.

An entry of a batch is a reference (a URL, or a photo that is stored already) and what is to be done with it. All
entries are recorded in one step, so a batch is there in full or not at all. They then wait in the feed; whoever takes
one from there (`app.api.feeder`) has it for a while, makes a job of it or refuses it, and if it dies the entry is given
out again. The id of the job follows from batch and index, so an entry becomes one job however often that is tried.

Photos that are stored wait in a feed of their own: they need no memory to become jobs, so they go on where photos that
must be fetched have to wait for room.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterable, Sequence
from typing import TYPE_CHECKING

import anyio

from app.errors import (
    BatchNotFoundError,
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    QueueFullError,
    QueueMemoryError,
    QueueUnavailableError,
)
from app.jobs.batch import (
    ENDED,
    REFUSED,
    WAITING,
    Batch,
    BatchEntry,
    EntryView,
    TakenEntry,
    decode_entry,
    encode_entry,
    entry_job_id,
    new_batch_id,
)
from app.jobs.codec import CodecError
from app.jobs.idempotency import KeyUse, check_key
from app.jobs.job import JobState
from app.jobs.renewing import renewed

if TYPE_CHECKING:
    from app.jobs.blobs import BlobStore
    from app.jobs.claim import QueuePolicy
    from app.jobs.keys import Keys
    from app.jobs.pace import Pace
    from app.jobs.scripts import Scripts

__all__ = ["Batch", "BatchEntry", "BatchStore", "EntryView", "TakenEntry", "entry_job_id", "new_batch_id"]

logger = logging.getLogger(__name__)

LEASE_MS = 20_000
"""Time in which a taken entry must be settled, or its lease renewed (`BatchStore.working`)."""

_INCOMPLETE_S = 600  # for photos whose batch is not created yet; should it never be, they go by themselves
_UNREADABLE_S = 60.0  # until an entry that this release cannot read is given out again
_CLEAR_S = 5.0
_CANCELS_AT_ONCE = 16
_NO_AHEAD = 10**9

# After these the batch was not accepted for certain.
_REFUSALS = (QueueFullError, QueueMemoryError, IdempotencyKeyReusedError, IdempotencyInProgressError)


class BatchStore:
    """The batches of one queue. All methods raise `QueueUnavailableError` while Redis cannot work.

    Args:
        keys: Names of the keys.
        scripts: The scripts of the queue.
        blobs: Where photos are stored.
        policy: Times and bounds.
        pace: How fast jobs end.
    """

    def __init__(self, keys: Keys, scripts: Scripts, blobs: BlobStore, policy: QueuePolicy, pace: Pace) -> None:
        self._keys, self._scripts, self._blobs, self._policy, self._pace = keys, scripts, blobs, policy, pace
        # Not before its key: a repetition then still finds it.
        self._kept_s = max(policy.batch_ttl_s, policy.idempotency_ttl_s)

    async def create(
        self, batch_id: str, tenant: str, created_ms: int, entries: Sequence[BatchEntry], key: KeyUse | None = None
    ) -> tuple[str, bool]:
        """Accept a batch; its entries without a URL have their photos stored (`create_stored`).

        Returns:
            Its id and True, or the id of the batch that was accepted under the key before and False.

        Raises:
            QueueFullError: Too many entries wait, or Redis needs its memory for what it has.
            IdempotencyKeyReusedError: The key belongs to another request.
            IdempotencyInProgressError: The key is held by another request.
        """
        head = (batch_id, tenant, created_ms, self._kept_s * 1000, *self._scripts.key_args(key), *self._bounds())
        rows: list[str] = []
        for index, entry in enumerate(entries):
            rows += ["" if entry.image_url else entry_job_id(batch_id, index), encode_entry(entry)]
        word, found = await self._scripts.run("batch_create", *head, *rows)
        await self._check_room(word.decode(), found, len(entries))
        check_key(word.decode())
        if word == b"lost":
            raise QueueUnavailableError("Photos were deleted before the batch was complete; send it again.")
        return (found.decode(), False) if word == b"repeated" else (batch_id, True)

    async def create_stored(
        self,
        batch_id: str,
        tenant: str,
        created_ms: int,
        entries: Sequence[BatchEntry],
        photos: AsyncIterable[bytes],
        total_bytes: int,
        key: KeyUse | None = None,
    ) -> tuple[str, bool]:
        """Store photos, one for each entry, and accept a batch of them; as `create`.

        What is stored of a batch that is not accepted is deleted, or goes after some minutes by itself.

        Args:
            batch_id: Id of the batch.
            tenant: Whose it is.
            created_ms: When it was accepted.
            entries: In order.
            photos: Bytes of each, in the same order.
            total_bytes: Bytes of all photos.
            key: Idempotency key, held by the caller.
        """
        needed_bytes = total_bytes if self._blobs.fills_redis else 0
        word, found = await self._scripts.run("batch_room", *self._bounds(), len(entries), needed_bytes)
        await self._check_room(word.decode(), found, len(entries))
        indexes: list[int] = []
        try:
            async for photo in photos:
                indexes.append(len(indexes))
                name = self._keys.image(entry_job_id(batch_id, indexes[-1]))
                await self._blobs.put(name, photo, _INCOMPLETE_S)
        except BaseException:
            await self._clear(batch_id, indexes)
            raise
        try:
            accepted_id, is_new = await self.create(batch_id, tenant, created_ms, entries, key)
        except _REFUSALS:
            await self._clear(batch_id, indexes)
            raise
        # After any other error the batch may be there, so its photos stay for it.
        if not is_new:
            await self._clear(batch_id, indexes)
        return accepted_id, is_new

    async def _clear(self, batch_id: str, indexes: Sequence[int]) -> None:
        """Delete stored photos as well as that is possible, also for a caller that was canceled."""
        with contextlib.suppress(QueueUnavailableError), anyio.move_on_after(_CLEAR_S, shield=True):
            await self.discard(batch_id, indexes)

    async def discard(self, batch_id: str, indexes: Sequence[int]) -> None:
        """Delete stored photos of entries that will not become jobs."""
        if indexes:
            names = [self._keys.image(entry_job_id(batch_id, index)) for index in indexes]
            await self._blobs.delete(*names)

    def _bounds(self) -> tuple[int, str]:
        return self._policy.max_waiting_entries, str(self._policy.batch_memory_share)

    async def _check_room(self, word: str, waiting: int, total: int) -> None:
        if word not in ("full", "memory"):
            return
        most = self._policy.max_waiting_entries
        reason = f"{waiting} photos of batches are waiting, the limit is {most}; try again later."
        # An entry leaves the feed, and a photo leaves memory, at the rate at which jobs end.
        ends = max(1, waiting + total - most)
        if word == "memory":
            reason = "The queue's memory has no room for this batch now; try again later, or with fewer photos."
            ends = max(1, min(waiting, total))
        raise QueueFullError(reason, retry_after_s=await self._pace.time_for_s(ends))

    async def load(self, taken: TakenEntry) -> bytes | None:
        """Give the stored photo of an entry, or None if it is not there."""
        return await self._blobs.get(self._keys.image(taken.job_id))

    async def take(self, limit: int, *, ahead: int = _NO_AHEAD, may_fetch: bool = True) -> list[TakenEntry]:
        """Take entries for which the queue has room; each is given out again after `LEASE_MS` unless settled.

        Args:
            limit: Most entries.
            ahead: Jobs made of entries that may wait in the queue at a time, those of this call included.
            may_fetch: Whether entries with URLs are wanted too, and not only those whose photo is stored. While Redis
                needs its memory for the jobs it has, none are given.

        Returns:
            Those that have waited longest.
        """
        bounds = (self._policy.max_queued, str(self._policy.memory_share))
        rows = await self._scripts.run("batch_take", limit, LEASE_MS, ahead, int(may_fetch), *bounds)
        found = [await self._read(*row) for row in rows]
        return [taken for taken in found if taken is not None]

    async def _read(self, batch: bytes, index: bytes, tries: int, tenant: bytes, entry: bytes) -> TakenEntry | None:
        try:
            return TakenEntry(batch.decode(), int(index), tries, tenant.decode(), decode_entry(entry))
        except CodecError as error:
            # Of another release: a process of that one can read it, and its neighbours are none the worse.
            logger.warning("entry %d of batch %s is left for another process: %s", int(index), batch.decode(), error)
            await self._defer(batch.decode(), int(index), _UNREADABLE_S, counts=False)
            return None

    def working(self, taken: TakenEntry) -> contextlib.AbstractAsyncContextManager[None]:
        """Renew the lease of an entry for as long as the block lasts."""

        async def renew() -> None:
            await self._defer(taken.batch_id, taken.index, LEASE_MS / 1000, counts=True)

        return renewed(renew, LEASE_MS / 4000)

    async def refuse(self, taken: TakenEntry, code: str, detail: str) -> None:
        """End an entry that cannot become a job."""
        error, hook = json.dumps([code, detail]), taken.entry.webhook
        told = ("", "") if hook is None else (hook.url, ",".join(hook.events))
        is_ended = await self._scripts.run("batch_refuse", taken.batch_id, taken.index, error, *told)
        if is_ended and not taken.entry.image_url:
            await self.discard(taken.batch_id, [taken.index])

    async def defer(self, taken: TakenEntry, delay_s: float, *, counts: bool) -> None:
        """Put an entry back for a while.

        Args:
            taken: The entry.
            delay_s: Seconds until it may be taken again.
            counts: Whether this was a try of the entry's own.
        """
        await self._defer(taken.batch_id, taken.index, delay_s, counts=counts)

    async def _defer(self, batch_id: str, index: int, delay_s: float, *, counts: bool) -> None:
        await self._scripts.run("batch_defer", batch_id, index, int(delay_s * 1000), int(counts))

    async def get(self, batch_id: str) -> Batch:
        """Give a batch as it is now.

        Raises:
            BatchNotFoundError: No batch has this id (any more).
        """
        flat, waiting, jobs, now_ms = await self._scripts.run("batch_view", batch_id)
        record = dict(zip(flat[::2], flat[1::2], strict=True))
        if not record:
            raise _unknown(batch_id)
        found = {int(index): EntryView(int(index), WAITING) for index in waiting}
        for raw_index, job_id, state, expires_ms in jobs:
            found[int(raw_index)] = EntryView.of_job(int(raw_index), job_id, state, expires_ms, now_ms)
        for name, text in record.items():
            if name.startswith(b"error:"):
                index = int(name[6:])
                code, detail = json.loads(text)
                found[index] = EntryView(index, REFUSED, error=(code, detail))
        total = int(record[b"total"])
        return Batch(
            batch_id,
            record[b"tenant"].decode(),
            int(record[b"created_ms"]),
            b"cancel_requested" in record,
            # What is in none of these was taken out by a cancellation.
            tuple(found.get(index, EntryView(index, JobState.CANCELED.value)) for index in range(total)),
        )

    async def cancel(self, batch_id: str) -> Batch:
        """Cancel what has not ended: entries that are no jobs yet at once, jobs as `JobQueue.cancel` does.

        Raises:
            BatchNotFoundError: No batch has this id (any more).
        """
        left = await self._scripts.run("batch_cancel", batch_id)
        if left is None:
            raise _unknown(batch_id)
        await self.discard(batch_id, [int(index) for index in left])
        places = asyncio.Semaphore(_CANCELS_AT_ONCE)

        async def cancel(job_id: str) -> None:
            async with places:
                await self._scripts.cancel(job_id)

        # An entry that was just being submitted is a job by now, or its submission finds the entry gone.
        batch = await self.get(batch_id)
        open_jobs = [entry.job_id for entry in batch.entries if entry.job_id and entry.state not in ENDED]
        await asyncio.gather(*(cancel(job_id) for job_id in open_jobs))
        return await self.get(batch_id)


def _unknown(batch_id: str) -> BatchNotFoundError:
    return BatchNotFoundError(f"No batch has the id {batch_id!r}; records are deleted after their time.")
