"""Leases, fences, redelivery and fairness between workers, on a real Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from app.jobs.connection import call, connect
from app.jobs.job import PRIORITIES, Job, JobState
from app.jobs.keys import GROUP, Keys
from app.jobs.queue import Claim, JobQueue, QueuePolicy
from tests.support.jobs import SHORT_LEASE_MS, make_job, open_queue, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def queues(redis_url: str, namespace: str) -> AsyncIterator[tuple[JobQueue, JobQueue]]:
    """Two processes' worth of queues."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_queue(redis_url, namespace))
        yield first, await stack.enter_async_context(open_queue(redis_url, namespace))


@pytest.fixture
async def hasty_queues(redis_url: str, namespace: str) -> AsyncIterator[tuple[JobQueue, JobQueue]]:
    """Two processes' worth of queues whose leases lapse soon."""
    policy = QueuePolicy(lease_ms=SHORT_LEASE_MS)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_queue(redis_url, namespace, policy))
        yield first, await stack.enter_async_context(open_queue(redis_url, namespace, policy))


async def submit(queue: JobQueue, priority: str = "interactive") -> Job:
    return await queue.submit(make_job(priority), b"photo")


async def take(queue: JobQueue, worker: str) -> Claim:
    (claim,) = await queue.claim(worker, 1, 5000)
    return claim


async def finish(queue: JobQueue, claim: Claim) -> bool:
    image = f"by {claim.worker}".encode()
    return await queue.finish(claim, image, "image/png", caption=None, findings=(), steps_total=1)


async def pending_count(redis: Redis, namespace: str, priority: str = "interactive") -> int:
    summary = await call(redis, "XPENDING", Keys(namespace).stream(priority), GROUP)
    return int(summary["pending"])


async def test_lapsed_lease_passes_the_job_on_and_the_stale_worker_is_refused(
    hasty_queues: tuple[JobQueue, JobQueue], redis: Redis, namespace: str
) -> None:
    first, second = hasty_queues
    job = await submit(first)
    old = await take(first, "ada")
    started = time.monotonic()
    new = await take(second, "bob")
    assert time.monotonic() - started >= SHORT_LEASE_MS / 1000 * 0.9
    assert (new.fence, new.image) == (2, b"photo")

    assert not (await first.renew(old)).owned
    assert not (await first.progress(old, 1, 2)).owned
    assert not await finish(first, old)
    assert not await first.fail(old, "restoration_failed", "late")
    assert not await first.canceled(old)
    assert not await first.hand_back(old)
    assert (await first.get(job.id)).state is JobState.RUNNING

    assert await finish(second, new)
    assert await finish(second, new), "a repeated commit is answered as the first"
    assert not await finish(first, old)
    assert await first.result(job.id) == b"by bob"
    assert await call(redis, "KEYS", Keys(namespace).result(job.id, 1)) == []
    assert await pending_count(redis, namespace) == 0


async def test_renewed_lease_stays_and_counts_no_delivery(redis_url: str, redis: Redis, namespace: str) -> None:
    lease_s = 0.6
    policy = QueuePolicy(lease_ms=int(lease_s * 1000))
    async with open_queue(redis_url, namespace, policy) as first, open_queue(redis_url, namespace, policy) as second:
        await submit(first)
        claim = await take(first, "ada")
        deadline = time.monotonic() + 1.5 * lease_s
        while time.monotonic() < deadline:
            assert (await first.renew(claim)).owned
            assert await second.claim("bob", 1, 20) == []
        rows = await redis.xpending_range(Keys(namespace).stream("interactive"), GROUP, min="-", max="+", count=1)
        assert rows[0]["times_delivered"] == 1
        assert await finish(first, claim)


async def test_job_of_a_killed_process_is_taken_over(
    hasty_queues: tuple[JobQueue, JobQueue], redis_url: str, namespace: str
) -> None:
    job = await submit(hasty_queues[0])
    command = [sys.executable, "-m", "tests.support.claimant", redis_url, namespace, "victim"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert (await process.stdout.readline()).decode().strip() == job.id
    process.kill()
    await process.communicate()
    claim = await take(hasty_queues[0], "survivor")
    assert (claim.job.id, claim.fence) == (job.id, 2)
    assert await finish(hasty_queues[0], claim)
    assert (await hasty_queues[0].get(job.id)).state is JobState.SUCCEEDED


async def test_restarted_process_of_the_same_name_gets_its_jobs_back_at_once(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(lease_ms=60_000, max_deliveries=2)
    async with open_queue(redis_url, namespace, policy) as before:
        job = await submit(before)
        await take(before, "pod-0")
    async with open_queue(redis_url, namespace, policy) as after:
        assert [claim.job.id for claim in await after.claim("pod-0", 1, 0)] == [job.id]
    async with open_queue(redis_url, namespace, policy) as again:  # what kills its process each time must not go on
        assert await again.claim("pod-0", 1, 0) == []
        assert (await again.get(job.id)).error_code == "worker_lost"


async def test_answer_lost_on_the_way_is_given_again_and_not_counted(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(lease_ms=60_000, max_deliveries=1)
    async with open_queue(redis_url, namespace, policy) as queue:
        await queue.ensure()
        job = await submit(queue)
        # The same call as a claim makes, with its answer thrown away.
        await queue._scripts.claim("ada", queue._claimer.instance, 1, 0, (), PRIORITIES)
        assert (await queue.get(job.id)).state is JobState.RUNNING
        claim = await take(queue, "ada")
        assert claim.fence == 2
        assert await queue.claim("ada", 1, 0) == [], "what is held is not given again"
        assert await finish(queue, claim)


async def test_worker_that_loses_all_its_jobs_ends_in_the_dead_stream(redis_url: str, namespace: str) -> None:
    redis = connect(redis_url)
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=100, max_deliveries=3)) as queue:
        job = await submit(queue)
        assert [(await take(queue, f"w{number}")).fence for number in range(3)] == [1, 2, 3]
        assert (await queue.get(job.id)).state is JobState.RUNNING
        assert await queue.claim("w4", 1, 400) == []
        failed = await queue.get(job.id)
        assert (failed.state, failed.error_code) == (JobState.FAILED, "worker_lost")
        assert "3 workers" in (failed.error_detail or "")
        ((_, entry),) = await call(redis, "XRANGE", Keys(namespace).dead, "-", "+")
        assert (entry[b"job"], entry[b"code"], entry[b"deliveries"]) == (job.id.encode(), b"worker_lost", b"3")
        assert await pending_count(redis, namespace) == 0
        assert await call(redis, "XLEN", Keys(namespace).stream("interactive")) == 0
    await redis.aclose()


async def test_retryable_failure_is_tried_again_until_deliveries_are_used_up(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=60_000, max_deliveries=2)) as queue:
        job = await submit(queue)
        assert await queue.fail(await take(queue, "ada"), "device_out_of_memory", "full", retryable=True)
        again = await queue.get(job.id)
        assert (again.state, again.error_code) == (JobState.QUEUED, "device_out_of_memory")
        assert await queue.depth() == {"interactive": 1, "batch": 0}
        assert await queue.fail(await take(queue, "bob"), "device_out_of_memory", "still full", retryable=True)
        failed = await queue.get(job.id)
        assert (failed.state, failed.error_detail, failed.attempt) == (JobState.FAILED, "still full", 2)


async def test_success_after_a_failed_attempt_shows_no_error(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=60_000)) as queue:
        job = await submit(queue)
        await queue.fail(await take(queue, "ada"), "device_out_of_memory", "full", retryable=True)
        assert await finish(queue, await take(queue, "ada"))
        done = await queue.get(job.id)
        assert (done.state, done.error_code, done.error_detail) == (JobState.SUCCEEDED, None, None)


async def test_plain_failure_ends_the_job(queues: tuple[JobQueue, JobQueue]) -> None:
    job = await submit(queues[0])
    assert await queues[0].fail(await take(queues[0], "ada"), "invalid_image", "truncated")
    failed = await queues[0].get(job.id)
    assert (failed.state, failed.error_code, failed.error_detail) == (JobState.FAILED, "invalid_image", "truncated")


async def test_handed_back_job_is_free_at_once_and_not_counted(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=60_000, max_deliveries=1)) as queue:
        job = await submit(queue)
        for attempt in range(1, 4):
            claim = await take(queue, "ada")
            assert claim.fence == attempt
            assert await queue.hand_back(claim)
            assert (await queue.get(job.id)).state is JobState.QUEUED
            assert not (await queue.renew(claim)).owned
        assert await finish(queue, await take(queue, "bob"))


async def test_retiring_hands_back_what_is_held(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=60_000, max_deliveries=1)) as queue:
        jobs = [await submit(queue), await submit(queue, "batch")]
        assert len(await queue.claim("ada", 2, 0)) == 2
        await queue.retire("ada")
        assert {claim.job.id for claim in await queue.claim("bob", 2, 0)} == {job.id for job in jobs}


async def test_retiring_before_any_job_ever_came_is_fine(queues: tuple[JobQueue, JobQueue]) -> None:
    await queues[0].retire("ada")


async def test_cancel_of_a_lost_job_takes_effect_when_its_lease_lapses(hasty_queues: tuple[JobQueue, JobQueue]) -> None:
    job = await submit(hasty_queues[0])
    await take(hasty_queues[0], "ada")
    await hasty_queues[0].cancel(job.id)

    async def is_canceled() -> bool:
        assert await hasty_queues[1].claim("bob", 1, 0) == []
        return (await hasty_queues[1].get(job.id)).state is JobState.CANCELED

    await until(is_canceled)


async def test_claim_takes_no_more_than_asked(queues: tuple[JobQueue, JobQueue]) -> None:
    for _ in range(5):
        await submit(queues[0])
    assert await queues[0].claim("ada", 0, 1000) == []
    assert [len(await queues[0].claim("ada", 2, 0)) for _ in range(3)] == [2, 2, 1]


async def test_claim_wakes_for_a_new_job(queues: tuple[JobQueue, JobQueue]) -> None:
    waiting = asyncio.create_task(queues[0].claim("ada", 1, 60_000))
    job = await submit(queues[1], "batch")
    (claim,) = await asyncio.wait_for(waiting, 30.0)  # and not only when its minute is up
    assert claim.job.id == job.id


async def test_claim_gives_up_when_the_time_is_up(queues: tuple[JobQueue, JobQueue]) -> None:
    started = time.monotonic()
    assert await asyncio.wait_for(queues[0].claim("ada", 1, 100), 30.0) == []
    assert time.monotonic() - started >= 0.1


async def test_interactive_goes_first_but_batch_never_starves(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=60_000)) as queue:
        for priority in ("batch",) * 4 + ("interactive",) * 20:
            await submit(queue, priority)
        one_by_one = [(await take(queue, "ada")).priority for _ in range(8)]
        at_once = [claim.priority for claim in await queue.claim("ada", 16, 0)]
    assert one_by_one == ["interactive"] * 7 + ["batch"]
    assert at_once[:8] == ["interactive"] * 7 + ["batch"]
    assert sorted(at_once) == ["batch"] * 3 + ["interactive"] * 13


async def test_interactive_jobs_can_be_claimed_alone(queues: tuple[JobQueue, JobQueue]) -> None:
    queue = queues[0]
    alone = ("interactive",)
    batches = [await submit(queue, "batch") for _ in range(3)]
    assert await queue.claim("ada", 9, 0, alone) == []
    waiting = asyncio.create_task(queue.claim("ada", 9, 60_000, alone))
    job = await submit(queues[1])
    (claim,) = await asyncio.wait_for(waiting, 30.0)  # wakes for it, and the batch jobs do not keep it awake
    assert claim.job.id == job.id
    assert (await queue.depth())["batch"] == 3
    assert [claim.job.id for claim in await queue.claim("ada", 9, 0)] == [job.id for job in batches]
    for odd in ((), ("urgent",), ("interactive", "urgent")):
        with pytest.raises(ValueError, match="priorities are"):
            await queue.claim("ada", 1, 0, odd)


async def test_batch_jobs_of_a_lost_worker_wait_for_who_wants_batch_jobs(
    hasty_queues: tuple[JobQueue, JobQueue],
) -> None:
    jobs = {priority: await submit(hasty_queues[0], priority) for priority in ("batch", "interactive")}
    assert len(await hasty_queues[0].claim("ada", 2, 0)) == 2
    taken = await hasty_queues[1].claim("bob", 9, 10_000, ("interactive",))
    assert [claim.job.id for claim in taken] == [jobs["interactive"].id]
    again = await hasty_queues[1].claim("bob", 9, 10_000, ("batch",))
    assert [claim.job.id for claim in again] == [jobs["batch"].id]


async def test_jobs_claimed_alone_do_not_take_the_turn_of_batch_jobs(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=60_000, batch_every=2)) as queue:
        for priority in ("batch",) * 3 + ("interactive",) * 9:
            await submit(queue, priority)
        seen = []
        for _ in range(3):  # one for each, and one alone every time before the turn of batch jobs comes
            seen.append((await queue.claim("ada", 1, 0))[0].priority)
            assert [claim.priority for claim in await queue.claim("ada", 1, 0, ("interactive",))] == ["interactive"]
            seen.append((await queue.claim("ada", 1, 0))[0].priority)
    assert seen == ["interactive", "batch"] * 3


async def test_lag_of_the_group_stays_readable_for_the_autoscaler(
    queues: tuple[JobQueue, JobQueue], redis: Redis, namespace: str
) -> None:
    if int((await call(redis, "INFO", "server"))["redis_version"].split(".")[0]) < 7:
        pytest.skip("this Redis is older than 7 and has no lag")

    async def lag() -> object:
        (group,) = await call(redis, "XINFO GROUPS", Keys(namespace).stream("interactive"))
        return group["lag"]

    queue = queues[0]
    await queue.ensure()
    assert await lag() == 0
    jobs = [await submit(queue) for _ in range(4)]
    assert await lag() == 4
    await queue.cancel(jobs[1].id)
    assert await lag() == 4
    claim = await take(queue, "ada")
    assert await lag() == 3
    await finish(queue, claim)
    assert await lag() == 3
    assert await queue.hand_back(await take(queue, "ada"))  # passes over the canceled one
    assert await lag() == 2
    assert len(await queue.claim("ada", 9, 0)) == 2
    assert await lag() == 0


async def test_deleted_group_is_made_again_and_no_job_is_lost(
    queues: tuple[JobQueue, JobQueue], redis: Redis, namespace: str
) -> None:
    queue = queues[0]
    done, waiting = await submit(queue), await submit(queue)
    await finish(queue, await take(queue, "ada"))
    await call(redis, "XGROUP", "DESTROY", Keys(namespace).stream("interactive"), GROUP)
    assert [claim.job.id for claim in await queue.claim("ada", 9, 0)] == [waiting.id]
    assert (await queue.get(done.id)).state is JobState.SUCCEEDED


async def test_entry_deleted_by_hand_does_not_stop_the_others(
    queues: tuple[JobQueue, JobQueue], redis: Redis, namespace: str
) -> None:
    await submit(queues[0])
    claim = await take(queues[0], "ada")
    await call(redis, "XDEL", Keys(namespace).stream("interactive"), claim.entry_id)
    other = await submit(queues[1])
    assert (await take(queues[1], "bob")).job.id == other.id


async def test_job_without_its_photo_fails_and_says_so(
    queues: tuple[JobQueue, JobQueue], redis: Redis, namespace: str
) -> None:
    job = await submit(queues[0])
    await call(redis, "DEL", Keys(namespace).image(job.id))
    assert await queues[0].claim("ada", 1, 0) == []
    assert (await queues[0].get(job.id)).error_code == "input_lost"


async def test_record_of_another_release_fails_alone(
    queues: tuple[JobQueue, JobQueue], redis: Redis, namespace: str
) -> None:
    strange, usual = await submit(queues[0]), await submit(queues[0])
    await call(redis, "HSET", Keys(namespace).job(strange.id), "version", "99")
    assert [claim.job.id for claim in await queues[0].claim("ada", 5, 0)] == [usual.id]
    for _ in range(queues[0].policy.max_deliveries):
        assert await queues[1].claim("bob", 1, 0) == []
    record = await call(redis, "HGETALL", Keys(namespace).job(strange.id))
    assert (record[b"state"], record[b"error_code"]) == (b"failed", b"record_unreadable")


async def test_consumers_of_silent_workers_are_forgotten(
    queues: tuple[JobQueue, JobQueue], redis: Redis, namespace: str
) -> None:
    queue = queues[0]
    await submit(queue)
    await finish(queue, await take(queue, "ada"))
    await queue.announce("ada", ready=True, model="tiny", ttl_ms=1)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        await queue.announce("bob", ready=True, model="tiny", ttl_ms=10_000)
        rows = await call(redis, "XINFO CONSUMERS", Keys(namespace).stream("interactive"), GROUP)
        if rows == []:
            return
    raise AssertionError(f"still there: {rows}")
