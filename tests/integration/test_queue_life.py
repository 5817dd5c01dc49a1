"""The life of jobs as the API sees it, on a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.errors import JobNotFoundError, QueueFullError, ResultGoneError, ResultNotReadyError
from app.jobs.connection import call, connect
from app.jobs.job import Finding, JobState, RestoreOptions
from app.jobs.keys import Keys
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import make_job, open_queue, until

pytestmark = pytest.mark.anyio

FINDINGS = (Finding("rain", 0.9, 0.4), Finding("noise", 0.25, 0.125))


@pytest.fixture
async def queue(redis_url: str, namespace: str) -> AsyncIterator[JobQueue]:
    async with open_queue(redis_url, namespace) as opened:
        yield opened


async def finish_next(queue: JobQueue, worker: str = "w", image: bytes = b"restored") -> None:
    (claim,) = await queue.claim(worker, 1, 2000)
    assert await queue.finish(claim, image, "image/png", caption="a cat", findings=FINDINGS, steps_total=4)


async def until_blocked_readers(redis_url: str, expected: int) -> None:
    redis = connect(redis_url)

    async def has_expected_readers() -> bool:
        clients = await call(redis, "CLIENT LIST")
        return sum(client["cmd"] == "xread" and "b" in client["flags"] for client in clients) == expected

    await until(has_expected_readers)
    await redis.aclose()


async def test_photo_goes_in_and_comes_out(queue: JobQueue) -> None:
    job = replace(make_job(), options=RestoreOptions("best", 7, -3, "Ein Hügel", "webp"), tenant="akme")
    assert await queue.submit(job, b"photo\x00\xff", b"mask") == job
    assert await queue.get(job.id) == job

    (claim,) = await queue.claim("w", 4, 0)
    assert (claim.image, claim.mask, claim.fence, claim.worker) == (b"photo\x00\xff", b"mask", 1, "w")
    assert claim.job.options == job.options
    running = await queue.get(job.id)
    assert (running.state, running.attempt) == (JobState.RUNNING, 1)
    assert running.started_ms is not None

    assert (await queue.progress(claim, 1, 4, "a hill", FINDINGS)).owned
    seen = await queue.get(job.id)
    assert (seen.step, seen.steps_total, seen.caption, seen.findings) == (1, 4, "a hill", FINDINGS)

    assert await queue.finish(claim, b"restored", "image/webp", caption="a cat", findings=FINDINGS, steps_total=4)
    done = await queue.get(job.id)
    assert (done.state, done.step, done.caption, done.result_media_type) == (
        JobState.SUCCEEDED,
        4,
        "a cat",
        "image/webp",
    )
    assert done.finished_ms is not None
    assert done.expires_ms == done.finished_ms + queue.policy.result_ttl_s * 1000
    assert await queue.result(job.id) == b"restored"
    assert await queue.claim("w", 1, 0) == []


async def test_submitting_twice_accepts_once(queue: JobQueue) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    assert (await queue.submit(job, b"photo")).state is JobState.RUNNING
    assert await queue.claim("w", 1, 0) == []
    assert (await queue.renew(claim)).owned


async def test_only_a_queued_job_can_be_submitted(queue: JobQueue) -> None:
    with pytest.raises(ValueError, match="only a queued job can be submitted, this one is running"):
        await queue.submit(replace(make_job(), state=JobState.RUNNING), b"photo")


async def test_unknown_job_is_not_found(queue: JobQueue) -> None:
    for ask in (queue.get, queue.result, queue.cancel):
        with pytest.raises(JobNotFoundError):
            await ask("nobody")
    with pytest.raises(JobNotFoundError):
        await queue.wait("nobody", 1.0)


async def test_bound_counts_waiting_jobs_of_all_priorities_exactly(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(max_queued=3)) as queue:
        jobs = [make_job("batch"), *(make_job() for _ in range(5))]
        answers = await asyncio.gather(*(queue.submit(job, b"photo") for job in jobs), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, QueueFullError)]
        assert len(refused) == 3
        assert all(error.retry_after_s for error in refused)
        assert sum((await queue.depth()).values()) == 3
        redis = connect(redis_url)
        kept = await call(redis, "KEYS", Keys(namespace).image("*"))
        await redis.aclose()
        assert len(kept) == 3, "uploads of refused jobs must not stay"
        await queue.claim("w", 1, 0)
        await queue.submit(make_job(), b"photo")


async def test_canceled_while_queued_is_over_at_once_and_never_given_out(queue: JobQueue) -> None:
    job, other = make_job(), make_job()
    await queue.submit(job, b"photo")
    await queue.submit(other, b"photo")
    canceled = await queue.cancel(job.id)
    assert (canceled.state, canceled.cancel_requested) == (JobState.CANCELED, True)
    assert await queue.depth() == {"interactive": 1, "batch": 0}
    assert [claim.job.id for claim in await queue.claim("w", 5, 0)] == [other.id]
    assert await queue.cancel(job.id) == canceled
    with pytest.raises(ResultNotReadyError) as caught:
        await queue.result(job.id)
    assert caught.value.state == "canceled"


async def test_canceled_while_running_is_a_flag_that_the_worker_sees(queue: JobQueue) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    assert not (await queue.renew(claim)).cancel_requested
    assert (await queue.cancel(job.id)).state is JobState.RUNNING
    assert (await queue.renew(claim)).cancel_requested
    assert (await queue.progress(claim, 1, 4)).cancel_requested
    assert await queue.canceled(claim)
    assert (await queue.get(job.id)).state is JobState.CANCELED


async def test_result_that_comes_after_the_wish_to_cancel_is_not_kept(queue: JobQueue, redis_url: str) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    await queue.cancel(job.id)
    assert not await queue.finish(claim, b"x", "image/png", caption=None, findings=(), steps_total=1)
    assert (await queue.get(job.id)).state is JobState.CANCELED


async def test_cancel_of_a_finished_job_changes_nothing(queue: JobQueue) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    await finish_next(queue)
    done = await queue.get(job.id)
    assert await queue.cancel(job.id) == done
    assert await queue.result(job.id) == b"restored"


async def test_result_is_gone_after_its_time_and_the_job_reads_as_expired(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(result_ttl_s=1)) as queue:
        job = make_job()
        await queue.submit(job, b"photo")
        await finish_next(queue)
        assert await queue.result(job.id) == b"restored"

        async def is_expired() -> bool:
            return (await queue.get(job.id)).state is JobState.EXPIRED

        await until(is_expired)
        with pytest.raises(ResultGoneError):
            await queue.result(job.id)


async def test_nothing_is_kept_for_ever_and_nothing_needed_expires(
    queue: JobQueue, redis_url: str, namespace: str
) -> None:
    keys, redis = Keys(namespace), connect(redis_url)
    jobs = {name: make_job() for name in ("succeeded", "failed", "canceled")}
    for name, job in jobs.items():
        await queue.submit(job, b"photo", b"mask")
        assert await call(redis, "TTL", keys.image(job.id)) == -1
        assert await call(redis, "TTL", keys.mask(job.id)) == -1
        if name == "canceled":
            await queue.cancel(job.id)
    one, two = await queue.claim("w", 9, 0)
    await queue.finish(one, b"restored", "image/png", caption=None, findings=(), steps_total=1)
    await queue.fail(two, "restoration_failed", "no luck")
    for name, job in jobs.items():
        assert await call(redis, "EXISTS", keys.image(job.id), keys.mask(job.id)) == 0
        record_s = queue.policy.record_ttl_s + (queue.policy.result_ttl_s if name == "succeeded" else 0)
        for key in (keys.job(job.id), keys.events(job.id)):
            assert record_s - 60 < await call(redis, "TTL", key) <= record_s
    result_ttl_s = await call(redis, "TTL", keys.result(jobs["succeeded"].id, 1))
    assert 0 < result_ttl_s <= queue.policy.result_ttl_s
    await redis.aclose()


async def test_events_tell_the_story_and_stay_bounded(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(event_maxlen=5)) as queue:
        job = make_job()
        await queue.submit(job, b"photo")
        (claim,) = await queue.claim("w", 1, 0)
        for step in range(1, 9):
            await queue.progress(claim, step, 8)
        await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=8)
        redis = connect(redis_url)
        rows = await call(redis, "XRANGE", Keys(namespace).events(job.id), "-", "+")
        await redis.aclose()
    events = [(fields[b"type"], json.loads(fields[b"data"])) for _, fields in rows]
    assert [kind for kind, _ in events] == [b"progress"] * 4 + [b"state"]
    assert [data["step"] for _, data in events[:-1]] == [5, 6, 7, 8]
    assert events[-1][1]["state"] == "succeeded"
    assert all(data["attempt"] == 1 for _, data in events)


async def test_wait_returns_as_soon_as_the_job_ends(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.queue._RECHECK_S", 300.0)  # so that it is the notice that ends the wait
    job = make_job()
    await queue.submit(job, b"photo")
    waiting = asyncio.create_task(queue.wait(job.id, 300.0))
    await finish_next(queue)
    assert (await asyncio.wait_for(waiting, 30.0)).state is JobState.SUCCEEDED
    assert (await asyncio.wait_for(queue.wait(job.id, 300.0), 30.0)).state is JobState.SUCCEEDED


async def test_wait_gives_the_job_as_it_is_when_the_time_is_up(queue: JobQueue) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    assert (await queue.wait(job.id, 0.05)).state is JobState.QUEUED
    assert (await queue.wait(job.id, 0.0)).state is JobState.QUEUED


async def test_many_waiters_share_one_connection(queue: JobQueue, redis_url: str) -> None:
    jobs = [make_job() for _ in range(60)]
    for job in jobs:
        await queue.submit(job, b"photo")
    waiting = [asyncio.create_task(queue.wait(job.id, 20.0)) for job in jobs]
    await until_blocked_readers(redis_url, 1)
    while claims := await queue.claim("w", 16, 0):
        for claim in claims:
            await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)
    assert {job.state for job in await asyncio.gather(*waiting)} == {JobState.SUCCEEDED}


async def test_abandoned_waiter_leaves_others_alone(queue: JobQueue, redis_url: str) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    gone, staying = (asyncio.create_task(queue.wait(job.id, 20.0)) for _ in range(2))
    await until_blocked_readers(redis_url, 1)
    gone.cancel()
    await finish_next(queue)
    assert (await staying).state is JobState.SUCCEEDED
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_workers_are_listed_until_they_retire_or_fall_silent(queue: JobQueue) -> None:
    await queue.announce("ada", ready=False, model="tiny", ttl_ms=60_000)
    await queue.announce("bob", ready=True, model="tiny", ttl_ms=50)
    await queue.announce("ada", ready=True, model="tiny", ttl_ms=60_000)

    async def only_ada() -> bool:
        return [(info.name, info.ready, info.model) for info in await queue.workers()] == [("ada", True, "tiny")]

    await until(only_ada)
    await queue.retire("ada")
    assert await queue.workers() == []


async def test_ensure_may_be_repeated_and_ping_answers(queue: JobQueue) -> None:
    await queue.ensure()
    await queue.ensure()
    await queue.ping()
    assert await queue.depth() == {"interactive": 0, "batch": 0}
