"""How a worker takes jobs: those whose lease ran out (or whose answer got lost) first, then new ones."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from app.jobs.claim import Claim
from app.jobs.codec import CodecError, decode_job
from app.jobs.connection import BLOCK_MS, call
from app.jobs.job import PRIORITIES
from app.storage.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from app.jobs.blobs import BlobStore
    from app.jobs.keys import Keys
    from app.jobs.scripts import Scripts, Taken


class Claimer:
    """Takes jobs for the workers of this process and knows which entries they hold.

    Args:
        redis: Client that gives bytes.
        keys: Names of the keys.
        scripts: The scripts of the queue.
        blobs: Where uploads are.
        lease_ms: Time without a renewal after which another worker may take a running job.
        ensure: Creates the groups when they are missing.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        scripts: Scripts,
        blobs: BlobStore,
        lease_ms: int,
        ensure: Callable[[], Awaitable[None]],
    ) -> None:
        self.instance = uuid.uuid4().hex[:8]  # tells this process from an earlier one of the same name
        self._redis, self._keys, self._scripts, self._blobs = redis, keys, scripts, blobs
        self._lease_ms = lease_ms
        self._ensure = ensure
        self._claiming = asyncio.Lock()
        self._claimed_count = 0
        self._held: dict[str, set[str]] = {}  # worker name -> entry ids that this process works on
        self._unread: dict[str, list[Taken]] = {}  # worker name -> what it was given and the store did not give

    async def claim(self, worker: str, limit: int, block_ms: int, priorities: Sequence[str]) -> list[Claim]:
        """Take up to `limit` jobs; see `JobQueue.claim`."""
        if not priorities or not set(priorities) <= set(PRIORITIES):
            raise ValueError(f"priorities are {tuple(priorities)}; expected one or more of {PRIORITIES}")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + block_ms / 1000
        while limit > 0:
            claims, last_ids = await self._claim_now(worker, limit, priorities)
            left_ms = int((deadline - loop.time()) * 1000)
            if claims or left_ms <= 0:
                return claims
            # Wakes for new entries without taking them: should the answer get lost, nothing is lost with it. Short
            # slices, because the end of another worker's lease wakes nobody.
            block = max(1, min(left_ms, BLOCK_MS, self._lease_ms // 4))
            known = dict(zip(PRIORITIES, last_ids, strict=True))
            streams = [self._keys.stream(priority) for priority in priorities]
            seen = [known[priority] for priority in priorities]
            await call(self._redis, "XREAD", "BLOCK", block, "STREAMS", *streams, *seen)
        return []

    def release(self, claim: Claim) -> None:
        """Note that this process no longer works on a claim."""
        self._held.get(claim.worker, set()).discard(claim.entry_id)

    def forget(self, worker: str) -> None:
        """Note that a worker of this process is gone."""
        self._held.pop(worker, None)
        self._unread.pop(worker, None)

    async def _claim_now(self, worker: str, limit: int, priorities: Sequence[str]) -> tuple[list[Claim], list[bytes]]:
        held = self._held.setdefault(worker, set())
        async with self._claiming:  # a second claim would take what the first one's answer is bringing for lost
            await self._wait_for_unread(worker)
            asked_s = time.monotonic()
            asked = (worker, self.instance, limit, self._claimed_count, tuple(held), priorities)
            try:
                taken, last_ids = await self._scripts.claim(*asked)
            except ResponseError as error:
                if not is_missing_group(error):
                    raise
                await self._ensure()
                asked_s = time.monotonic()
                taken, last_ids = await self._scripts.claim(*asked)
            try:
                loaded = [await self._load(worker, item, asked_s) for item in taken]
            except StorageUnavailableError:
                self._unread[worker] = taken
                raise
            claims = [claim for claim in loaded if claim is not None]
            # Only now: what an error above kept from the caller counts as lost and is given again by the next claim.
            held.update(claim.entry_id for claim in claims)
            if set(priorities) == set(PRIORITIES):  # else the turn of batch jobs might always come when none are wanted
                self._claimed_count += len(claims)
        return claims, last_ids

    async def _wait_for_unread(self, worker: str) -> None:
        """Raise for as long as the store does not give what a worker was given last; it keeps its leases meanwhile.

        The script would give the same jobs again, each time as a new attempt with events that push others out of the
        job's stream. When the store is back it does so once, as for any lost answer.

        Raises:
            QueueUnavailableError: The store, or Redis, cannot be reached.
        """
        kept = [item for item in self._unread.get(worker, ()) if await self._keep(worker, item)]
        for item in kept:
            await self._read(item.job_id)
        self._unread.pop(worker, None)

    async def _keep(self, worker: str, taken: Taken) -> bool:
        """Prolong the lease of a job that was not read yet; gives whether it is still this worker's."""
        renewal = await self._scripts.renew(taken, worker)
        if renewal.cancel_requested:
            await self._scripts.canceled(taken)
        return renewal.owned and not renewal.cancel_requested

    async def _read(self, job_id: str) -> tuple[bytes | None, bytes | None]:
        """Give photo and mask."""
        image = await self._blobs.get(self._keys.image(job_id))
        return image, await self._blobs.get(self._keys.mask(job_id))

    async def _load(self, worker: str, taken: Taken, asked_s: float) -> Claim | None:
        try:
            job = decode_job(taken.fields)
        except CodecError as error:
            # Written by another release: a worker of that one may be able to read it.
            await self._scripts.fail(taken, "record_unreadable", str(error), retryable=True)
            return None
        image, mask = await self._read(job.id)
        if image is None:
            await self._scripts.fail(taken, "input_lost", "The uploaded photo is no longer stored.", retryable=False)
            return None
        accepted_s = asked_s - taken.age_ms / 1000
        place = (taken.fence, taken.entry_id, taken.priority)
        return Claim(job, image, mask, *place, worker, accepted_s, taken.owner)


def is_missing_group(error: ResponseError) -> bool:
    """Say whether an error means that streams and groups are not there yet."""
    return "NOGROUP" in str(error) or "no such key" in str(error)
