"""A store of photos that is away while workers ask for jobs: each job waits for it, once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from app.jobs.connection import call
from app.jobs.job import JobState
from app.jobs.keys import GROUP, Keys
from app.jobs.queue import Claim, JobQueue
from app.storage.errors import StorageUnavailableError
from tests.support.jobs import LONG_LEASE_MS, make_job, open_queue
from tests.support.object_store import BreakableStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def store() -> BreakableStore:
    return BreakableStore()


@pytest.fixture
async def queue(redis_url: str, namespace: str, store: BreakableStore) -> AsyncIterator[JobQueue]:
    async with open_queue(redis_url, namespace, objects=store) as opened:
        yield opened


async def finish(queue: JobQueue, claim: Claim) -> bool:
    return await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)


async def test_a_store_that_is_away_costs_one_attempt_however_often_a_worker_asks(
    queue: JobQueue, store: BreakableStore, redis: Redis, keys: Keys
) -> None:
    """Each attempt is told by events, and too many of those would push others out of the job's stream."""
    jobs = [await queue.submit(make_job(), b"photo", b"mask") for _ in range(2)]
    with store.broken():
        for _ in range(20):
            with pytest.raises(StorageUnavailableError):
                await queue.claim("w", 2, 0)
        assert [(await queue.get(job.id)).attempt for job in jobs] == [1, 1]
        assert [await call(redis, "XLEN", keys.events(job.id)) for job in jobs] == [2, 2]  # queued, running
        # Whoever waits for the store keeps its leases.
        entries = [str((await call(redis, "HGET", keys.job(job.id), "entry")).decode()) for job in jobs]
        stream = keys.stream("interactive")
        await call(redis, "XCLAIM", stream, GROUP, "w", 0, *entries, "IDLE", 10 * LONG_LEASE_MS)
        with pytest.raises(StorageUnavailableError):
            await queue.claim("w", 2, 0)
        assert await queue.claim("x", 2, 0) == []
    claims = await queue.claim("w", 2, 0)
    assert [(claim.job_id, claim.image, claim.mask, claim.fence) for claim in claims] == [
        (job.id, b"photo", b"mask", 2) for job in jobs
    ]
    assert [await call(redis, "HGET", keys.job(job.id), "deliveries") for job in jobs] == [b"1", b"1"]
    assert [await finish(queue, claim) for claim in claims] == [True, True]


async def test_a_job_that_waits_for_the_store_can_be_canceled(queue: JobQueue, store: BreakableStore) -> None:
    job = await queue.submit(make_job(), b"photo")
    with store.broken():
        with pytest.raises(StorageUnavailableError):
            await queue.claim("w", 1, 0)
        await queue.cancel(job.id)
        assert await queue.claim("w", 1, 0) == []  # and nothing keeps the worker from others
        assert (await queue.get(job.id)).state is JobState.CANCELED
