"""Batches: many photos under one id, turned into jobs little by little.

An entry of a batch is a reference (a URL, or a photo that is stored already) and what is to be done with it. All
entries are recorded in one step, so a batch is there in full or not at all. They then wait in the feed; whoever takes
one from there (`app.api.feeder`) has it for a while, makes a job of it or refuses it, and if it dies the entry is given
out again. The id of the job follows from batch and index, so an entry becomes one job however often that is tried.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from app.errors import BatchNotFoundError
from app.jobs.codec import decode_options, encode_options
from app.jobs.idempotency import KeyUse, check_key
from app.jobs.job import JobState, RestoreOptions
from app.jobs.webhook import Webhook

if TYPE_CHECKING:
    from app.jobs.blobs import BlobStore
    from app.jobs.keys import Keys
    from app.jobs.scripts import Scripts

KEPT_S = 7 * 24 * 3600
"""Time for which a batch, and what it stores of photos that are no jobs yet, is kept."""

LEASE_MS = 180_000
"""Time in which a taken entry must be settled; above the longest time that two fetches and two checks take."""

_CANCELS_AT_ONCE = 16

WAITING, REFUSED, DELETED = "waiting", "refused", "deleted"
"""States of entries beside those of jobs: not a job yet; never becoming one; a job whose record is deleted."""

ENDED = frozenset({REFUSED, DELETED} | {state.value for state in JobState if state.is_terminal})


@dataclass(frozen=True)
class BatchEntry:
    """One photo of a batch.

    Attributes:
        options: How to restore it.
        image_url: Where the photo is; None for one that is stored.
        mask_url: Where its mask is, or None.
        metadata: The caller's own object, or None.
        webhook: Where the caller wants to be told of its end, or None.
    """

    options: RestoreOptions
    image_url: str | None = None
    mask_url: str | None = None
    metadata: Mapping[str, Any] | None = None
    webhook: Webhook | None = None


@dataclass(frozen=True)
class TakenEntry:
    """An entry in the hands of a feeder.

    Attributes:
        batch_id: Its batch.
        index: Its place in there.
        tries: Times it was taken, this one included.
        tenant: Whose batch it is.
        entry: What is to be done.
    """

    batch_id: str
    index: int
    tries: int
    tenant: str
    entry: BatchEntry

    @property
    def job_id(self) -> str:
        """Id of the job that it becomes."""
        return entry_job_id(self.batch_id, self.index)


@dataclass(frozen=True)
class EntryView:
    """How far an entry is.

    Attributes:
        index: Its place in the batch.
        state: `WAITING`, `REFUSED`, `DELETED` or the state of its job.
        job_id: Its job, or None.
        error: Code and sentence why it was refused, or None.
    """

    index: int
    state: str
    job_id: str | None = None
    error: tuple[str, str] | None = None


@dataclass(frozen=True)
class Batch:
    """A batch as it is now.

    Attributes:
        id: Its id.
        tenant: Whose it is.
        created_ms: When it was accepted.
        cancel_requested: Whether the caller asked to cancel it.
        entries: In order.
    """

    id: str
    tenant: str
    created_ms: int
    cancel_requested: bool
    entries: tuple[EntryView, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of entries by state, all states named."""
        counted = Counter(entry.state for entry in self.entries)
        return {state: counted[state] for state in (WAITING, REFUSED, *(item.value for item in JobState), DELETED)}

    @property
    def ended(self) -> int:
        """Number of entries that have come to their end."""
        return sum(entry.state in ENDED for entry in self.entries)


def new_batch_id() -> str:
    """Give a fresh batch id: 32 lower-case hex digits, not guessable."""
    return uuid.uuid4().hex


def entry_job_id(batch_id: str, index: int) -> str:
    """Give the id of the job that an entry becomes, as long and as hard to guess as others."""
    return hashlib.sha256(f"{batch_id}:{index}".encode()).hexdigest()[:32]


class BatchStore:
    """The batches of one queue. All methods raise `QueueUnavailableError` while Redis cannot work.

    Args:
        keys: Names of the keys.
        scripts: The scripts of the queue.
        blobs: Where photos are stored.
    """

    def __init__(self, keys: Keys, scripts: Scripts, blobs: BlobStore) -> None:
        self._keys, self._scripts, self._blobs = keys, scripts, blobs

    async def store(self, batch_id: str, index: int, image: bytes) -> None:
        """Store the photo of an entry, before the batch is created.

        Raises:
            QueueMemoryError: There is no room.
        """
        await self._blobs.put(self._keys.image(entry_job_id(batch_id, index)), image, KEPT_S)

    async def discard(self, batch_id: str, indexes: Sequence[int]) -> None:
        """Delete stored photos of entries that will not become jobs."""
        if indexes:
            names = [self._keys.image(entry_job_id(batch_id, index)) for index in indexes]
            await self._blobs.delete(*names)

    async def load(self, taken: TakenEntry) -> bytes | None:
        """Give the stored photo of an entry, or None if it is not there."""
        return await self._blobs.get(self._keys.image(taken.job_id))

    async def create(
        self, batch_id: str, tenant: str, created_ms: int, entries: Sequence[BatchEntry], key: KeyUse | None = None
    ) -> str:
        """Accept a batch.

        Returns:
            Its id, or that of the batch that was accepted under the key before.

        Raises:
            IdempotencyKeyReusedError: The key belongs to another request.
            IdempotencyInProgressError: The key is held by another request.
        """
        head = (batch_id, tenant, created_ms, KEPT_S * 1000, *self._scripts.key_args(key))
        word, first = await self._scripts.run("batch_create", *head, *(_encode(entry) for entry in entries))
        check_key(word.decode())
        return first.decode() or batch_id

    async def take(self, limit: int) -> list[TakenEntry]:
        """Take up to `limit` entries, oldest first; each is given out again after `LEASE_MS` unless settled."""
        rows = await self._scripts.run("batch_take", limit, LEASE_MS)
        return [
            TakenEntry(batch.decode(), int(index), tries, tenant.decode(), _decode(entry))
            for batch, index, tries, tenant, entry in rows
        ]

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
        await self._scripts.run("batch_defer", taken.batch_id, taken.index, int(delay_s * 1000), int(counts))

    async def get(self, batch_id: str) -> Batch:
        """Give a batch as it is now.

        Raises:
            BatchNotFoundError: No batch has this id (any more).
        """
        flat, waiting, jobs, now_ms = await self._scripts.run("batch_view", batch_id)
        record = dict(zip(flat[::2], flat[1::2], strict=True))
        if not record:
            raise BatchNotFoundError(f"No batch has the id {batch_id!r}; records are deleted after a week.")
        found = {int(index): EntryView(int(index), WAITING) for index in waiting}
        for raw_index, job_id, state, expires_ms in jobs:
            is_expired = state == b"succeeded" and expires_ms and int(expires_ms) <= now_ms
            word = JobState.EXPIRED.value if is_expired else state.decode() or DELETED
            found[int(raw_index)] = EntryView(int(raw_index), word, job_id.decode())
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
            raise BatchNotFoundError(f"No batch has the id {batch_id!r}; records are deleted after a week.")
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


def _encode(entry: BatchEntry) -> str:
    given = {
        "options": json.loads(encode_options(entry.options)),
        "image_url": entry.image_url,
        "mask_url": entry.mask_url,
        "metadata": entry.metadata,
        "webhook": None if entry.webhook is None else asdict(entry.webhook),
    }
    return json.dumps({name: value for name, value in given.items() if value is not None}, separators=(",", ":"))


def _decode(text: bytes) -> BatchEntry:
    given = json.loads(text)
    hook = given.pop("webhook", None)
    webhook = None if hook is None else Webhook(hook["url"], tuple(hook["events"]))
    return BatchEntry(**{**given, "options": decode_options(json.dumps(given["options"])), "webhook": webhook})
