"""Jobs that failed on every delivery, on a real Redis: kept with their photos, retried as a new life, or given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from app.errors import InputLostError, JobNotFoundError, QueueFullError
from app.jobs.batch import BatchEntry, entry_job_id, new_batch_id
from app.jobs.connection import call
from app.jobs.dead import JobNotDeadError
from app.jobs.directory import JobFilter
from app.jobs.job import Job, JobState, RestoreOptions
from app.jobs.keys import Keys
from app.jobs.queue import Claim, JobQueue, QueuePolicy
from app.jobs.webhook import Webhook
from tests.support.batches import make_entry_job
from tests.support.jobs import LONG_LEASE_MS, SHORT_LEASE_MS, make_job, open_queue, until
from tests.support.object_store import BreakableStore

pytestmark = pytest.mark.anyio

POLICY = QueuePolicy(lease_ms=LONG_LEASE_MS, max_deliveries=2)


@pytest.fixture
async def queue(redis_url: str, namespace: str) -> AsyncIterator[JobQueue]:
    async with open_queue(redis_url, namespace, POLICY) as opened:
        yield opened


async def fail_all(queue: JobQueue, job: Job, code: str = "device_out_of_memory") -> Claim:
    """Uses up a waiting job's deliveries; gives the last claim."""
    while not (await queue.get(job.id)).state.is_terminal:
        (claim,) = await queue.claim("w", 1, 0)
        assert claim.job_id == job.id
        assert await queue.fail(claim, code, "no luck", retryable=True)
    return claim


async def bury(queue: JobQueue, job: Job | None = None, mask: bytes | None = b"mask") -> Job:
    job = await queue.submit(job or make_job(), b"photo", mask)
    await fail_all(queue, job)
    return await queue.get(job.id)


async def finish(queue: JobQueue, claim: Claim) -> bool:
    return await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)


async def ttl_s(queue: JobQueue, name: str) -> float:
    return int(await call(queue._redis, "PTTL", name)) / 1000


async def states(queue: JobQueue, job: Job) -> list[tuple[Any, Any]]:
    return [(event.data["state"], event.data["attempt"]) for event in await queue.journal.read(job.id)]


async def test_photo_record_and_events_of_a_dead_job_are_kept_for_a_bounded_time(
    redis_url: str, namespace: str
) -> None:
    keys, policy = Keys(namespace), replace(POLICY, dead_ttl_s=3000, record_ttl_s=60)
    async with open_queue(redis_url, namespace, policy) as queue:
        job = await bury(queue)
        assert (job.state, job.error_code, job.attempt) == (JobState.FAILED, "device_out_of_memory", 2)
        for name in (keys.image(job.id), keys.mask(job.id), keys.job(job.id), keys.events(job.id)):
            assert 2900 < await ttl_s(queue, name) <= 3000, name
        (dead,) = await queue.dead.page(10)
        assert (dead.job_id, dead.code, dead.detail, dead.deliveries, dead.is_retryable, dead.tenant) == (
            job.id, "device_out_of_memory", "no luck", 2, True, "default",
        )  # fmt: skip
        assert dead.at_ms == job.finished_ms
        assert await queue.dead.get(job.id) == dead
        (line,) = await call(queue._redis, "ZRANGE", keys.unlist, 0, -1)
        assert int(await call(queue._redis, "ZSCORE", keys.unlist, line)) >= dead.at_ms + 3000_000


async def test_retried_job_begins_a_new_life(queue: JobQueue, namespace: str) -> None:
    keys = Keys(namespace)
    job, other = await bury(queue), await queue.submit(make_job(), b"other")
    last_event = (await queue.journal.read(job.id))[-1].id
    await queue.dead.retry(job.id)

    now = await queue.get(job.id)
    assert now == replace(job.retried(), finished_ms=None)
    assert await queue.dead.page(10) == []
    assert await queue.depth() == {"interactive": 2, "batch": 0}
    listed = (await queue.directory.page("default", JobFilter(), 10)).jobs
    assert [(row.job.id, row.job.state) for row in listed] == [(other.id, JobState.QUEUED), (job.id, JobState.QUEUED)]
    assert await call(queue._redis, "ZCARD", keys.unlist) == 0
    for name in (keys.image(job.id), keys.mask(job.id), keys.job(job.id), keys.events(job.id)):
        assert await call(queue._redis, "TTL", name) == -1, name
    assert await states(queue, job) == [("queued", 2)]
    (event,) = await queue.journal.read(job.id, after=last_event)  # whoever knew the end hears of the new beginning
    assert event.data["state"] == "queued"

    (first,) = await queue.claim("w", 1, 0)
    assert first.job_id == other.id  # it waits behind those that came meanwhile
    (claim,) = await queue.claim("w", 1, 0)
    assert (claim.job_id, claim.fence, claim.image, claim.mask) == (job.id, 3, b"photo", b"mask")
    assert await queue.fail(claim, "device_out_of_memory", "again", retryable=True)
    assert (await queue.get(job.id)).state is JobState.QUEUED  # all deliveries are before it again
    (claim,) = await queue.claim("w", 1, 0)
    assert await finish(queue, claim)
    done = await queue.get(job.id)
    assert (done.state, done.attempt, done.error_code) == (JobState.SUCCEEDED, 4, None)
    assert await queue.result(job.id) == b"restored"
    assert await call(queue._redis, "EXISTS", keys.image(job.id), keys.mask(job.id)) == 0
    assert [state for state, _ in await states(queue, job)].count("succeeded") == 1


async def test_job_whose_workers_were_all_lost_is_retried_too_and_may_die_again(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(lease_ms=SHORT_LEASE_MS, max_deliveries=1)
    async with open_queue(redis_url, namespace, policy) as queue:
        job = await queue.submit(make_job(), b"photo")
        for life in (1, 2):
            (lost,) = await queue.claim(f"lost-{life}", 1, 0)

            async def is_dead() -> bool:
                assert await queue.claim("other", 1, 0) == []
                return (await queue.get(job.id)).state is JobState.FAILED

            await until(is_dead)
            (dead,) = await queue.dead.page(10)
            assert (dead.code, dead.deliveries) == ("worker_lost", 1)
            assert not (await queue.renew(lost)).owned
            await queue.dead.retry(job.id)
            assert not await finish(queue, lost)  # from an earlier life: it has no claim on this one
        (claim,) = await queue.claim("w", 1, 0)
        assert claim.fence == 3
        assert await finish(queue, claim)


async def test_worker_of_an_earlier_life_can_do_nothing(queue: JobQueue) -> None:
    job = await queue.submit(make_job(), b"photo")
    stale = await fail_all(queue, job)
    await queue.dead.retry(job.id)
    (claim,) = await queue.claim("w", 1, 0)
    assert not await finish(queue, stale)
    assert not await queue.fail(stale, "restoration_failed", "late")
    assert not await queue.canceled(stale)
    assert not await queue.hand_back(stale)
    assert (await queue.renew(claim)).owned


async def test_what_is_not_dead_cannot_be_retried_nor_dropped(queue: JobQueue) -> None:
    waiting = await queue.submit(make_job(), b"photo")
    done, broken, retried, dropped = [await queue.submit(make_job("batch"), b"photo") for _ in range(4)]
    for _ in range(2):
        for claim in await queue.claim("w", 4, 0, ("batch",)):
            if claim.job_id == done.id:
                await finish(queue, claim)
            else:
                await queue.fail(claim, "invalid_image", "no", retryable=claim.job_id != broken.id)
    await queue.dead.retry(retried.id)
    await queue.dead.drop(dropped.id)
    for job in (waiting, done, broken, retried, dropped):
        with pytest.raises(JobNotDeadError, match="is not dead"):
            await queue.dead.retry(job.id)
        with pytest.raises(JobNotDeadError, match="is not dead"):
            await queue.dead.drop(job.id)
        with pytest.raises(JobNotDeadError):
            await queue.dead.get(job.id)
    for act in (queue.dead.retry, queue.dead.drop):
        with pytest.raises(JobNotFoundError):
            await act("0" * 32)


async def test_dropped_job_loses_its_photo_and_keeps_its_record(queue: JobQueue, namespace: str) -> None:
    keys, job = Keys(namespace), await bury(queue)
    await queue.dead.drop(job.id)
    assert await queue.dead.page(10) == []
    assert await call(queue._redis, "EXISTS", keys.image(job.id), keys.mask(job.id)) == 0
    assert await call(queue._redis, "ZCARD", f"{keys.dead}:photos") == 0
    assert await queue.get(job.id) == job
    assert (await states(queue, job))[-1] == ("failed", 2)
    assert await ttl_s(queue, keys.job(job.id)) > 0


async def test_without_its_photo_a_job_is_listed_and_not_retried(queue: JobQueue, namespace: str) -> None:
    job = await bury(queue)
    await call(queue._redis, "DEL", Keys(namespace).image(job.id))
    (dead,) = await queue.dead.page(10)
    assert not dead.is_retryable
    with pytest.raises(InputLostError, match="VLMIR_DEAD_TTL_S"):
        await queue.dead.retry(job.id)
    assert (await queue.get(job.id)).state is JobState.FAILED


async def test_time_for_a_retry_ends_by_the_servers_clock(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, replace(POLICY, dead_ttl_s=1)) as queue:
        job = await bury(queue)

        async def is_over() -> bool:
            return not (await queue.dead.get(job.id)).is_retryable

        await until(is_over)
        with pytest.raises(InputLostError):
            await queue.dead.retry(job.id)


async def test_no_time_for_a_retry_means_no_photo(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, replace(POLICY, dead_ttl_s=0)) as queue:
        job = await bury(queue)
        assert await call(queue._redis, "EXISTS", Keys(namespace).image(job.id)) == 0
        (dead,) = await queue.dead.page(10)
        assert (dead.job_id, dead.is_retryable) == (job.id, False)


async def test_job_whose_caller_wanted_it_no_more_is_never_retried(queue: JobQueue) -> None:
    job = await queue.submit(make_job(), b"photo")
    for _ in range(2):
        (claim,) = await queue.claim("w", 1, 0)
        if claim.fence == 2:
            await queue.cancel(job.id)
        await queue.fail(claim, "restoration_failed", "no luck", retryable=True)
    assert (await queue.get(job.id)).state is JobState.FAILED
    with pytest.raises(InputLostError):
        await queue.dead.retry(job.id)


async def test_full_queue_refuses_a_retry(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, replace(POLICY, max_queued=1)) as queue:
        job = await bury(queue)
        await queue.submit(make_job(), b"photo")
        with pytest.raises(QueueFullError, match="VLMIR_MAX_QUEUED"):
            await queue.dead.retry(job.id)
        assert (await queue.dead.get(job.id)).is_retryable


async def test_dead_jobs_are_listed_newest_first_in_pages(queue: JobQueue, namespace: str) -> None:
    jobs = [(await bury(queue)).id for _ in range(5)]
    first = await queue.dead.page(2)
    second = await queue.dead.page(2, first[-1].entry_id)
    third = await queue.dead.page(2, second[-1].entry_id)
    assert [dead.job_id for dead in (*first, *second, *third)] == jobs[::-1]
    assert await queue.dead.page(2, third[-1].entry_id) == []
    await call(queue._redis, "DEL", Keys(namespace).job(jobs[4]))
    assert [(dead.job_id, dead.record == {}) async for dead in queue.dead.all()] == [
        (job_id, job_id == jobs[4]) for job_id in jobs[::-1]
    ]
    with pytest.raises(ValueError, match="at least 1"):
        await queue.dead.page(0)


async def test_purge_leaves_nothing_of_a_dead_job(queue: JobQueue, namespace: str) -> None:
    keys, job = Keys(namespace), await bury(queue)
    await queue.purge(job.id)
    assert await queue.dead.page(10) == []
    left = [name for name in await call(queue._redis, "KEYS", f"{keys.prefix}*") if job.id.encode() in name]
    assert left == []
    assert await call(queue._redis, "ZCARD", f"{keys.dead}:photos") == 0


async def test_photo_that_comes_once_more_changes_nothing(queue: JobQueue, namespace: str) -> None:
    job = await bury(queue)
    fresh = replace(job, state=JobState.QUEUED)
    await call(queue._redis, "SET", Keys(namespace).image(job.id), b"photo", "EX", 5)  # as a repeated submit does
    await queue._scripts.submit(job.id, job.priority, job.created_ms, {"id": job.id})
    assert await ttl_s(queue, Keys(namespace).image(job.id)) > 3600
    assert (await queue.submit(fresh, b"photo")).state is JobState.FAILED
    assert (await queue.dead.get(job.id)).is_retryable


async def test_each_life_tells_its_end(queue: JobQueue) -> None:
    job = await bury(queue, replace(make_job(), webhook=Webhook("https://shop.example/hook")))
    await queue.dead.retry(job.id)
    await fail_all(queue, job)
    await queue.dead.retry(job.id)
    (claim,) = await queue.claim("w", 1, 0)
    await finish(queue, claim)
    told = await queue.outbox.deliveries(job.id)
    assert [delivery.event for delivery in told] == ["job.failed", "job.failed", "job.succeeded"]
    assert len({delivery.id for delivery in told}) == 3


async def test_entry_of_a_batch_waits_again(queue: JobQueue) -> None:
    batch_id, _ = await queue.batches.create(new_batch_id(), "default", 1, [BatchEntry(RestoreOptions(), "https://a/")])
    job = await queue.submit(make_entry_job(entry_job_id(batch_id, 0), batch_id), b"photo", entry=0)
    await fail_all(queue, job)
    assert [entry.state for entry in (await queue.batches.get(batch_id)).entries] == ["failed"]
    await queue.dead.retry(job.id)
    assert [entry.state for entry in (await queue.batches.get(batch_id)).entries] == ["queued"]


async def test_whoever_waits_anew_is_told_of_the_new_end(queue: JobQueue) -> None:
    job = await bury(queue)
    await queue.dead.retry(job.id)
    waiting = asyncio.create_task(queue.wait(job.id, 60))
    (claim,) = await queue.claim("w", 1, 0)
    await finish(queue, claim)
    assert (await waiting).state is JobState.SUCCEEDED


async def test_photos_in_an_object_store_are_kept_dropped_and_swept(redis_url: str, namespace: str) -> None:
    objects = BreakableStore()
    async with open_queue(redis_url, namespace, POLICY, objects) as queue:
        retried, dropped = await bury(queue, mask=None), await bury(queue)
        assert await queue.retention.sweep() == 0
        await queue.dead.retry(retried.id)
        await queue.dead.drop(dropped.id)
        due = [f"{kind}:{dropped.id}" for kind in ("image", "mask")]
        for member in due:  # as the ten seconds would
            await call(queue._redis, "ZADD", Keys(namespace).objects, "XX", 0, member)
        assert await queue.retention.sweep() == 2
        assert objects.kept() == [f"image/{retried.id}"]
        (claim,) = await queue.claim("w", 1, 0)
        assert (claim.job_id, claim.image) == (retried.id, b"photo")
