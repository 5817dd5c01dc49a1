"""When those who are refused are told to come back: by how fast jobs really end."""

from __future__ import annotations

import time

import pytest

from app.errors import QueueFullError
from app.jobs.batch import BatchEntry, new_batch_id
from app.jobs.connection import call, connect
from app.jobs.job import RestoreOptions
from app.jobs.keys import Keys
from app.jobs.pace import LONGEST_S, Pace
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import LONG_LEASE_MS, make_job, open_queue

pytestmark = pytest.mark.anyio


async def end_one(queue: JobQueue) -> None:
    (claim,) = await queue.claim("ada", 1, 0)
    assert await queue.finish(claim, b"x", "image/png", caption=None, findings=(), steps_total=1)


async def test_pace_is_of_ends_while_others_waited(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace) as queue:
        redis, name = connect(redis_url), Keys(namespace).pace
        for _ in range(4):
            await queue.submit(make_job(), b"photo")
        assert await queue.pace.time_for_s(1) is None
        await end_one(queue)
        assert await call(redis, "HMGET", name, "ends", "waited") == [b"0.000000", b"1"]
        # As if that had been six seconds ago: the next end then took six.
        await call(redis, "HINCRBYFLOAT", name, "at_ms", -6000)
        await end_one(queue)
        ends, busy_ms = (float(value) for value in await call(redis, "HMGET", name, "ends", "busy_ms"))
        assert ends == 1.0
        assert 6000 <= busy_ms < 12_000
        assert await queue.pace.time_for_s(10) in range(60, 121)
        await end_one(queue)
        await end_one(queue)  # none waits behind this one, so the time until the next says nothing
        before = await call(redis, "HMGET", name, "ends", "busy_ms")
        await call(redis, "HINCRBYFLOAT", name, "at_ms", -500_000)
        job = await queue.submit(make_job(), b"photo")
        await end_one(queue)
        assert await call(redis, "HMGET", name, "ends", "busy_ms") == before
        await queue.cancel((await queue.submit(make_job(), b"photo")).id)  # never ran
        assert await call(redis, "HMGET", name, "ends", "busy_ms") == before
        assert (await queue.get(job.id)).state.is_terminal
        await redis.aclose()


async def test_refused_batches_are_told_when_there_will_be_room(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(lease_ms=LONG_LEASE_MS, max_waiting_entries=4)
    entry = BatchEntry(RestoreOptions(), "https://a.example/")
    async with open_queue(redis_url, namespace, policy) as queue:
        redis = connect(redis_url)
        await queue.batches.create(new_batch_id(), "default", 1, [entry] * 3)
        with pytest.raises(QueueFullError) as unknown:
            await queue.batches.create(new_batch_id(), "default", 1, [entry] * 2)
        assert unknown.value.retry_after_s == QueueFullError.default_retry_after_s
        fields = ("ends", "10", "busy_ms", "70000", "at_ms", "0", "waited", "0")
        await call(redis, "HSET", Keys(namespace).pace, *fields)
        for size, retry_after_s in ((2, 7), (4, 21)):  # one of those that wait must go, or three
            with pytest.raises(QueueFullError, match="3 photos of batches") as known:
                await queue.batches.create(new_batch_id(), "default", 1, [entry] * size)
            assert known.value.retry_after_s == retry_after_s
        await redis.aclose()


async def test_what_has_not_ended_for_long_counts_too(redis_url: str, namespace: str) -> None:
    redis, keys = connect(redis_url), Keys(namespace)
    now_ms = int(time.time() * 1000)
    rows = {"ends": 20, "busy_ms": 20_000, "at_ms": now_ms - 400_000, "waited": 1}
    await call(redis, "HSET", keys.pace, *(str(word) for pair in rows.items() for word in pair))
    assert await Pace(redis, keys).time_for_s(1) in (20, 21)
    await call(redis, "HSET", keys.pace, "waited", "0")
    assert await Pace(redis, keys).time_for_s(1) == 1
    assert await Pace(redis, keys).time_for_s(30) == 30
    assert await Pace(redis, keys).time_for_s(10**6) == LONGEST_S
    await redis.aclose()


async def test_full_queue_says_when_a_place_will_be_free(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(lease_ms=LONG_LEASE_MS, max_queued=2)
    async with open_queue(redis_url, namespace, policy) as queue:
        redis = connect(redis_url)
        for _ in range(2):
            await queue.submit(make_job(), b"photo")
        with pytest.raises(QueueFullError) as unknown:
            await queue.submit(make_job(), b"photo")
        assert unknown.value.retry_after_s == QueueFullError.default_retry_after_s
        fields = ("ends", "10", "busy_ms", "70000", "at_ms", "0", "waited", "0")
        await call(redis, "HSET", Keys(namespace).pace, *fields)
        with pytest.raises(QueueFullError, match="2 jobs are waiting") as known:
            await queue.submit(make_job(), b"photo")
        assert known.value.retry_after_s == 7
        await redis.aclose()
