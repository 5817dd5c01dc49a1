"""A worker loop with the real tiny model on a real Redis: results, isolation of bad jobs, cancel, drain, lost Redis."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from app.exit_codes import EXIT_UNUSABLE
from app.jobs.job import JobState
from app.jobs.queue import Claim, JobQueue, QueuePolicy
from app.settings import Settings
from app.storage.setup import Storage
from app.worker.__main__ import _run
from app.worker.held import Leave, Phase
from app.worker.loop import LoopPolicy
from app.worker.pools import Pool
from app.worker.runner import Runner
from tests.support.jobs import open_queue, until
from tests.support.redis_server import RedisServer
from tests.support.workers import Benches, noise_png, photo_job, read_pixels, until_decoded, working

pytestmark = pytest.mark.anyio
POLICY = QueuePolicy(lease_ms=5000)
WAIT_S = 60.0


async def has_step(queue: JobQueue, job_id: str) -> bool:
    job = await queue.get(job_id)
    assert not job.state.is_terminal, job
    return job.step >= 1


async def test_photo_is_restored_with_caption_findings_and_steps(
    redis_url: str, namespace: str, runner: Runner
) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue, working(queue, runner):
        job = await queue.submit(photo_job(steps=3, image_format="webp"), noise_png())
        done = await queue.wait(job.id, WAIT_S)
        assert (done.state, done.step, done.steps_total) == (JobState.SUCCEEDED, 3, 3), done
        assert done.result_media_type == "image/webp"
        assert done.caption
        assert len(done.findings) == 10
        assert read_pixels(await queue.result(job.id)).shape == (80, 96, 3)


async def test_result_is_the_same_alone_and_beside_seven_others(redis_url: str, namespace: str, runner: Runner) -> None:
    photo = noise_png(130, 70, seed=5)
    async with open_queue(redis_url, namespace, POLICY) as queue, working(queue, runner):
        alone = await queue.submit(photo_job(130, 70, seed=7), photo)
        await queue.wait(alone.id, WAIT_S)
        others = [
            await queue.submit(photo_job(60 + 30 * n, 90, steps=1 + n % 4, seed=n), noise_png(60 + 30 * n, 90, n))
            for n in range(7)
        ]
        among = await queue.submit(photo_job(130, 70, seed=7), photo)
        for job in (*others, among):
            assert (await queue.wait(job.id, WAIT_S)).state is JobState.SUCCEEDED
        first, second = [read_pixels(await queue.result(job.id)).astype(int) for job in (alone, among)]
        assert np.abs(first - second).max() <= 1
        assert (first != second).any(axis=2).mean() <= 1e-5


async def test_bad_jobs_fail_alone_with_a_code(redis_url: str, namespace: str, runner: Runner) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue:
        good = [await queue.submit(photo_job(seed=n), noise_png(seed=n)) for n in range(2)]
        bad = {
            "unsupported_format": await queue.submit(photo_job(), b"this is no photo"),
            "invalid_image": await queue.submit(photo_job(), noise_png()[:2000]),
            "invalid_mask": await queue.submit(photo_job(), noise_png(), noise_png(5, 5)),
        }
        good += [await queue.submit(photo_job(seed=9), noise_png(seed=9))]
        async with working(queue, runner):
            for job in good:
                assert (await queue.wait(job.id, WAIT_S)).state is JobState.SUCCEEDED
            for code, job in bad.items():
                failed = await queue.wait(job.id, WAIT_S)
                assert (failed.state, failed.error_code) == (JobState.FAILED, code)
                assert failed.error_detail


async def test_canceled_job_leaves_between_steps_and_others_go_on(
    redis_url: str, namespace: str, runner: Runner
) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue, working(queue, runner):
        long = await queue.submit(photo_job(300, 300, steps=100), noise_png(300, 300))
        await until(lambda: has_step(queue, long.id), WAIT_S)
        mate = await queue.submit(photo_job(), noise_png())
        await queue.cancel(long.id)
        assert (await queue.wait(long.id, WAIT_S)).state is JobState.CANCELED
        assert (await queue.wait(mate.id, WAIT_S)).state is JobState.SUCCEEDED


async def test_stop_finishes_what_fits_and_hands_back_the_rest(redis_url: str, namespace: str, runner: Runner) -> None:
    policy = LoopPolicy(concurrency=2, grace_s=60.0, claim_block_ms=50)
    async with open_queue(redis_url, namespace, POLICY) as queue:
        endless = await queue.submit(photo_job(1600, 1600, steps=100), noise_png(1600, 1600))
        short = await queue.submit(photo_job(300, 300, steps=12), noise_png(300, 300))
        waiting = await queue.submit(photo_job(), noise_png())
        async with working(queue, runner, policy):  # stops at the end of the block
            await until(lambda: has_step(queue, short.id), WAIT_S)
        assert (await queue.get(short.id)).state is JobState.SUCCEEDED
        for job in (endless, waiting):
            assert (await queue.get(job.id)).state is JobState.QUEUED
        assert await queue.workers() == []
        async with working(queue, runner):  # the delivery was not counted, and the next worker has it at once
            await until(lambda: has_step(queue, endless.id), WAIT_S)
            await queue.cancel(endless.id)
            assert (await queue.wait(waiting.id, WAIT_S)).state is JobState.SUCCEEDED


async def test_job_in_hand_is_delivered_after_redis_came_back(namespace: str, runner: Runner) -> None:
    server = RedisServer("--appendfsync", "always")
    server.start()
    try:
        async with open_queue(server.url, namespace, POLICY) as queue, working(queue, runner) as loop:
            job = await queue.submit(photo_job(200, 200, steps=20), noise_png(200, 200))
            await until(lambda: has_step(queue, job.id), WAIT_S)
            server.kill()
            held = loop._bench.held[job.id]

            async def is_computed() -> bool:
                return held.phase is Phase.DELIVERING

            await until(is_computed, WAIT_S)  # to its end while Redis is away
            server.start()
            done = await queue.wait(job.id, WAIT_S)
            assert (done.state, done.attempt) == (JobState.SUCCEEDED, 1)
            later = await queue.submit(photo_job(), noise_png())
            assert (await queue.wait(later.id, WAIT_S)).state is JobState.SUCCEEDED
    finally:
        server.close()


async def test_unknown_model_ends_the_worker_for_good(
    redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(redis_url=redis_url, namespace=namespace, model="no-such-model")
    assert await _run(settings, redis_url, Storage.of(settings)) == EXIT_UNUSABLE
    assert "no-such-model" in caplog.text
    async with open_queue(redis_url, namespace, POLICY) as queue:
        assert await queue.workers() == []


async def test_job_claimed_anew_by_its_own_worker_loses_no_work(
    redis_url: str, namespace: str, benches: Benches
) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=150)) as queue:  # and nobody renews the lease
        bench = await benches.set_up(queue)
        benches.start(bench)
        job = await queue.submit(photo_job(600, 600, steps=8), noise_png(600, 600))
        (first,) = await queue.claim("w", 1, 1000)
        bench.accept(first)
        await until(lambda: has_step(queue, job.id), WAIT_S)
        held = bench.held[job.id]
        (second,) = await queue.claim("w", 1, 10_000)  # waits for the end of the lease
        bench.accept(second)
        assert second.fence > first.fence
        assert bench.held[job.id] is held
        done = await queue.wait(job.id, WAIT_S)
        assert (done.state, done.attempt) == (JobState.SUCCEEDED, second.fence)


async def test_photos_are_decoded_as_memory_allows_and_uploads_dropped(
    redis_url: str, namespace: str, runner: Runner, benches: Benches
) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        bench._parts.intake.pixels = Pool(runner.estimate_pixel_bytes(96, 80) * 5 // 2)
        jobs = [await queue.submit(photo_job(seed=n), noise_png(seed=n)) for n in range(4)]
        for claim in await queue.claim("w", 4, 0):
            bench.accept(claim)
        helds = [bench.held[job.id] for job in jobs]

        async def are_two_decoded() -> bool:
            return [held.phase for held in helds[:2]] == [Phase.WAITING] * 2

        await until(are_two_decoded, WAIT_S)
        assert [held.phase for held in helds[2:]] == [Phase.CLAIMED] * 2
        assert [held.upload for held in helds[:2]] == [None, None]
        assert [held.upload for held in helds[2:]] == [(noise_png(seed=n), None) for n in (2, 3)]
        assert all(held.claim.image == b"" for held in helds)
        bench.hand_back(helds[2])  # leaves without having been decoded
        benches.start(bench)
        for job in (*jobs[:2], jobs[3]):
            assert (await queue.wait(job.id, WAIT_S)).state is JobState.SUCCEEDED

        async def is_empty() -> bool:
            return not bench.held

        await until(is_empty, WAIT_S)
        assert (await queue.get(jobs[2].id)).state is JobState.QUEUED
        assert sum(held.pixel_bytes for held in helds) == 0


async def test_photo_above_the_whole_budget_is_decoded_alone(redis_url: str, namespace: str, benches: Benches) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        bench._parts.intake.pixels = Pool(1)
        jobs = [await queue.submit(photo_job(), noise_png()) for _ in range(2)]
        benches.start(bench)
        for claim in await queue.claim("w", 2, 0):
            bench.accept(claim)
        for job in jobs:
            assert (await queue.wait(job.id, WAIT_S)).state is JobState.SUCCEEDED


async def test_fresh_claim_of_a_lost_job_is_not_forgotten_with_the_old_one(
    redis_url: str, namespace: str, benches: Benches
) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        job = await queue.submit(photo_job(), noise_png())
        (first,) = await queue.claim("w", 1, 0)
        bench.accept(first)
        held = bench.held[job.id]

        await until_decoded(held, WAIT_S)
        await queue.hand_back(first)
        held.leave = Leave.LOST
        (second,) = await queue.claim("w", 1, 0)
        benches.start(bench)
        await asyncio.sleep(0)  # it has taken the lost one out, and nothing else has run since
        bench.accept(second)
        done = await queue.wait(job.id, WAIT_S)
        assert (done.state, done.attempt) == (JobState.SUCCEEDED, second.fence)


async def test_job_that_comes_back_while_its_failure_is_told_is_worked_on(
    redis_url: str, namespace: str, benches: Benches
) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        job = await queue.submit(photo_job(), noise_png())
        (first,) = await queue.claim("w", 1, 0)
        bench.accept(first)
        held = bench.held[job.id]

        async def fail_and_claim_again(claim: Claim) -> bool:
            accepted = await queue.fail(claim, "device_out_of_memory", "later", retryable=True)
            for again in await queue.claim("w", 1, 0):
                bench.accept(again)
            return accepted

        await until_decoded(held, WAIT_S)
        bench._take_out(held)
        await bench.outcomes.settle(held, "failed", fail_and_claim_again)
        benches.start(bench)
        done = await queue.wait(job.id, WAIT_S)
        assert (done.state, done.attempt) == (JobState.SUCCEEDED, 2)
