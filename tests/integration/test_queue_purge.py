"""Deleting a job on a real Redis: nothing is left of it, whatever state it was in, and whoever waited for it knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.errors import JobNotFoundError
from app.jobs.batch import BatchEntry, entry_job_id, new_batch_id
from app.jobs.connection import call
from app.jobs.directory import JobFilter
from app.jobs.job import Job, RestoreOptions
from app.jobs.keys import Keys
from app.jobs.previews import Preview
from app.jobs.queue import JobQueue, QueuePolicy
from app.jobs.webhook import Webhook
from tests.support.batches import make_entry_job
from tests.support.jobs import LONG_LEASE_MS, SHORT_LEASE_MS, make_job, open_queue, until
from tests.support.object_store import BreakableStore

pytestmark = pytest.mark.anyio

HOOK = Webhook("https://shop.example/hook")


@pytest.fixture
async def queue(redis_url: str, namespace: str) -> AsyncIterator[JobQueue]:
    async with open_queue(redis_url, namespace) as opened:
        yield opened


async def traces(queue: JobQueue, namespace: str, job: Job) -> list[str]:
    """Everything in Redis whose name or content has the id of a job, but for the notices of ends (ids alone)."""
    found = []
    for raw in await call(queue._redis, "KEYS", f"{Keys(namespace).prefix}*"):
        name = raw.decode()
        content = await dump(queue, name)
        if job.id in name or (job.id.encode() in content and name not in (queue._keys.notices, queue._keys.dead)):
            found.append(name.removeprefix(Keys(namespace).prefix))
    return sorted(found)


async def dump(queue: JobQueue, name: str) -> bytes:
    """The raw content of a key; short strings are not compressed, so ids are found in it."""
    kind = (await call(queue._redis, "TYPE", name)).decode()
    words = {
        "string": ("GET", name), "hash": ("HGETALL", name), "list": ("LRANGE", name, "0", "-1"),
        "zset": ("ZRANGE", name, "0", "-1"), "stream": ("XRANGE", name, "-", "+"), "none": ("ECHO", ""),
    }[kind]  # fmt: skip
    return repr(await call(queue._redis, *words)).encode()


async def make(queue: JobQueue) -> Job:
    job = replace(make_job(), webhook=HOOK, metadata={"order": 7})
    return await queue.submit(job, b"photo", b"mask")


async def run(queue: JobQueue, job: Job) -> None:
    """One attempt that is handed back, and one that succeeds."""
    (claim,) = await queue.claim("w", 1, 0)
    await queue.hand_back(claim)
    (claim,) = await queue.claim("w", 1, 0)
    assert claim.job_id == job.id
    await queue.listen(job.id)
    await queue.preview(claim, Preview(1, 2, 8, 8, "image/webp", b"picture"))
    assert await queue.finish(claim, b"restored", "image/png", caption="a dog", findings=(), steps_total=2)


async def test_nothing_is_left_of_a_job_that_has_ended(queue: JobQueue, namespace: str) -> None:
    job = await make(queue)
    await run(queue, job)
    kept = await traces(queue, namespace, job)
    assert {f"job:{job.id}", f"events:{job.id}", f"result:{job.id}:2", "listed:default:succeeded", "unlist"} <= set(
        kept
    )
    assert any(name.startswith("delivery:") for name in kept)
    assert await queue.purge(job.id)
    assert await traces(queue, namespace, job) == []
    assert await call(queue._redis, "ZCARD", Keys(namespace).outbox) == 0
    with pytest.raises(JobNotFoundError):
        await queue.purge(job.id)
    with pytest.raises(JobNotFoundError):
        await queue.get(job.id)
    assert (await queue.directory.page("default", JobFilter(), 10)).jobs == ()


async def test_a_waiting_job_is_never_claimed_and_others_are(queue: JobQueue, namespace: str) -> None:
    job, other = await make(queue), await make(queue)
    assert await queue.purge(job.id)
    assert await queue.depth() == {"interactive": 1, "batch": 0}
    assert await traces(queue, namespace, job) == ["jobs:interactive"]  # the entry, an id, until a claim meets it
    assert [claim.job_id for claim in await queue.claim("w", 5, 0)] == [other.id]
    assert await traces(queue, namespace, job) == []


async def test_a_running_job_is_taken_from_its_worker(queue: JobQueue, namespace: str) -> None:
    job = await make(queue)
    (claim,) = await queue.claim("w", 1, 0)
    assert await queue.purge(job.id)
    assert await traces(queue, namespace, job) == []
    assert not (await queue.renew(claim)).owned
    assert not (await queue.progress(claim, 1, 2, caption="a dog")).owned
    assert not (await queue.preview(claim, Preview(1, 2, 8, 8, "image/webp", b"picture"))).owned
    assert not await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=2)
    assert not await queue.fail(claim, "restoration_failed", "late", retryable=True)
    assert not await queue.hand_back(claim)
    assert await traces(queue, namespace, job) == []
    assert await call(queue._redis, "XLEN", Keys(namespace).stream("interactive")) == 0


async def test_a_worker_that_was_lost_with_it_leaves_nothing_to_take_over(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(lease_ms=SHORT_LEASE_MS)
    async with open_queue(redis_url, namespace, policy) as queue:
        job = await make(queue)
        await queue.claim("lost", 1, 0)
        await queue.purge(job.id)
        other = await make(queue)

        async def is_taken() -> bool:
            return [claim.job_id for claim in await queue.claim("w", 5, SHORT_LEASE_MS)] == [other.id]

        await until(is_taken)
        assert await traces(queue, namespace, job) == []


async def test_whoever_waits_is_told(queue: JobQueue) -> None:
    job = await make(queue)
    waiting = asyncio.create_task(queue.wait(job.id, 60))
    await until(lambda: _is_subscribed(queue, job))
    await queue.purge(job.id)
    with pytest.raises(JobNotFoundError):
        await waiting


async def _is_subscribed(queue: JobQueue, job: Job) -> bool:
    return job.id in queue._notices._waiters and queue._notices._task is not None


async def test_an_entry_of_a_batch_reads_as_deleted(queue: JobQueue) -> None:
    batch_id, _ = await queue.batches.create(new_batch_id(), "default", 1, [BatchEntry(RestoreOptions(), "https://a/")])
    await queue.submit(make_entry_job(entry_job_id(batch_id, 0), batch_id), b"photo", entry=0)
    await queue.purge(entry_job_id(batch_id, 0))
    assert [entry.state for entry in (await queue.batches.get(batch_id)).entries] == ["deleted"]
    assert await queue.batches.take(5) == []


async def test_photos_in_an_object_store_go_too_if_not_at_once_then_soon(redis_url: str, namespace: str) -> None:
    objects = BreakableStore()
    async with open_queue(redis_url, namespace, objects=objects) as queue:
        first = await make(queue)
        await run(queue, first)
        second = await make(queue)
        assert len(objects.kept()) == 5  # of the one that has ended the upload may stay for some seconds
        assert await queue.purge(first.id)
        assert objects.kept() == [f"image/{second.id}", f"mask/{second.id}"]
        with objects.broken():
            assert not await queue.purge(second.id)
        assert await call(queue._redis, "EXISTS", Keys(namespace).job(second.id)) == 0
        assert await queue.retention.sweep() == 2
        assert objects.kept() == []


async def test_at_the_memory_limit_a_job_can_be_deleted(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=LONG_LEASE_MS)) as queue:
        jobs = [await make(queue) for _ in range(3)]
        (ended,) = await queue.claim("w", 1, 0)
        await queue.finish(ended, b"restored", "image/png", caption=None, findings=(), steps_total=1)
        await queue.claim("w", 1, 0)
        await call(queue._redis, "CONFIG", "SET", "maxmemory", "1")
        try:
            for job in jobs:  # one that has ended, one that runs, one that waits
                assert await queue.purge(job.id)
        finally:
            await call(queue._redis, "CONFIG", "SET", "maxmemory", "0")
