"""Whatever the queue keeps of jobs, batches and webhooks has a time, after which it is gone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from app.jobs.batch import BatchEntry
from app.jobs.batches import new_batch_id
from app.jobs.connection import call
from app.jobs.idempotency import KeyUse
from app.jobs.job import Job, RestoreOptions
from app.jobs.keys import Keys
from app.jobs.outbox import Attempt
from app.jobs.queue import JobQueue, QueuePolicy
from app.jobs.webhook import Webhook
from tests.support.jobs import LONG_LEASE_MS, make_job, open_queue, until

pytestmark = pytest.mark.anyio

HOUR_S = 3600
POLICY = QueuePolicy(lease_ms=LONG_LEASE_MS, result_ttl_s=HOUR_S, record_ttl_s=2 * HOUR_S)
BRIEF = QueuePolicy(result_ttl_s=1, record_ttl_s=1, idempotency_ttl_s=1, batch_ttl_s=1, dead_ttl_s=1, listen_ms=1000)
HOOK = Webhook("https://hooks.example/")
LASTING = {"jobs:interactive", "jobs:batch", "notices", "notices:pace", "workers", "workers:looked"}
"""Streams with their groups, the capped stream of ended jobs, how fast jobs end, the row of each worker, and a mark."""


async def finished(queue: JobQueue, job: Job) -> Job:
    await queue.submit(job, b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    assert await queue.finish(claim, b"result", "image/png", caption=None, findings=(), steps_total=1)
    return job


async def left_s(queue: JobQueue, key: str) -> int:
    return int(await call(queue._redis, "TTL", key))


@pytest.mark.parametrize("outcome", ["delivered", "failed", "disabled"])
async def test_a_settled_webhook_stays_as_long_as_a_record(redis_url: str, namespace: str, outcome: str) -> None:
    keys = Keys(namespace)
    async with open_queue(redis_url, namespace, POLICY) as queue:
        await queue.ensure()
        job = await finished(queue, replace(make_job(), webhook=HOOK))
        assert await left_s(queue, keys.deliveries(job.id)) > 6 * 24 * HOUR_S
        (message,) = await queue.outbox.take(1, 60_000, 4)
        assert await queue.outbox.settle(message, outcome, Attempt(1))  # type: ignore[arg-type]
        for key in (keys.deliveries(job.id), keys.delivery(message.id)):
            assert 2 * HOUR_S < await left_s(queue, key) <= 3 * HOUR_S


async def test_webhooks_that_their_receiver_wants_no_more_stay_no_longer(redis_url: str, namespace: str) -> None:
    keys = Keys(namespace)
    async with open_queue(redis_url, namespace, POLICY) as queue:
        await queue.ensure()
        entry = BatchEntry(RestoreOptions(), "https://photos.example/", webhook=HOOK)
        batch_id, _ = await queue.batches.create(new_batch_id(), "default", 1, [entry])
        jobs = [replace(make_job(), webhook=HOOK, batch_id=batch_id) for _ in range(2)]
        for job in jobs:
            await finished(queue, job)
        (message,) = await queue.outbox.take(1, 60_000, 4)
        assert await queue.outbox.settle(message, "disabled", Attempt(1, 410))
        assert await queue.outbox.take(1, 60_000, 4) == []  # the other one is disabled by this
        for job in jobs:
            (told,) = await queue.outbox.deliveries(job.id)
            assert told.state == "disabled"
            for key in (keys.deliveries(job.id), keys.delivery(told.id)):
                assert 0 < await left_s(queue, key) <= 3 * HOUR_S


async def test_everything_goes_after_its_time(redis_url: str, namespace: str) -> None:
    prefix = Keys(namespace).prefix
    async with open_queue(redis_url, namespace, BRIEF) as queue:
        await queue.ensure()
        done = await finished(queue, replace(make_job(), webhook=HOOK))
        await queue.listen(done.id)
        await queue.submit(make_job(), b"photo", b"mask")
        (claim,) = await queue.claim("w", 1, 0)
        await queue.fail(claim, "restoration_failed", "No luck.")
        canceled = await queue.submit(make_job(), b"photo")
        await queue.cancel(canceled.id)
        purged = await finished(queue, make_job())
        await queue.purge(purged.id)
        use = KeyUse.of("default", "a key", "a fingerprint")
        async with queue.idempotency.held(use):
            await queue.submit(make_job(), b"photo", key=use)
        (claim,) = await queue.claim("w", 1, 0)
        await queue.canceled(claim)
        entry = BatchEntry(RestoreOptions(), "https://photos.example/")
        batch_id, _ = await queue.batches.create(new_batch_id(), "default", 1, [entry])
        (message,) = await queue.outbox.take(1, 60_000, 4)
        await queue.outbox.settle(message, "delivered", Attempt(1))

        async def is_gone() -> bool:
            return not await call(queue._redis, "EXISTS", Keys(namespace).batch(batch_id))

        await until(is_gone, 30)  # else the entry would be given out, for a time
        deadline = time.monotonic() + 30
        while True:
            await queue.batches.take(1)  # as the API does all the time; and workers announce themselves
            await queue.announce("w", True, "tiny", 60_000)
            names = {name.decode().removeprefix(prefix) async for name in queue._redis.scan_iter(f"{prefix}*")}
            if names <= LASTING:
                break
            assert time.monotonic() < deadline, names - LASTING
            await asyncio.sleep(0.1)
