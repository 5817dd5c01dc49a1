"""Jobs that are not begun or not done in time end alone, wherever they are, and are not tried again."""

from __future__ import annotations

import threading
import time

import pytest

from app.jobs.connection import call
from app.jobs.job import Job, JobState
from app.jobs.keys import Keys
from app.jobs.queue import JobQueue, QueuePolicy
from app.worker.held import Phase
from app.worker.models import ModelSet
from app.worker.pools import Pool
from app.worker.runner import Runner
from app.worker.stages import DecodedPhoto
from tests.support.jobs import open_queue, until
from tests.support.workers import Benches, noise_png, photo_job

pytestmark = pytest.mark.anyio
POLICY = QueuePolicy(lease_ms=60_000)
WAIT_S = 60.0


class Clock:
    """The monotonic clock, moved on at will."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


async def assert_late(queue: JobQueue, job: Job, option: str) -> None:
    ended = await queue.wait(job.id, WAIT_S)
    assert (ended.state, ended.error_code, ended.attempt) == (JobState.FAILED, "deadline_exceeded", 1)
    assert option in (ended.error_detail or "")


async def test_running_job_ends_between_steps_and_its_mate_goes_on(
    redis_url: str, namespace: str, runner: Runner, benches: Benches
) -> None:
    clock = Clock()
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue, clock=clock)
        late = await queue.submit(photo_job(300, 300, steps=100, finish_within_s=1000.0), noise_png(300, 300))
        mate = await queue.submit(photo_job(120, 120, steps=60, start_within_s=1000.0), noise_png(120, 120))
        benches.start(bench)
        helds = await benches.take(bench, queue, late, mate)

        async def have_begun() -> bool:
            return all(held.step >= 1 for held in helds)

        await until(have_begun, WAIT_S)
        clock.ahead_s = 2000.0
        await assert_late(queue, late, "finish_within")
        assert (await queue.wait(mate.id, WAIT_S)).state is JobState.SUCCEEDED  # it had begun in time
        assert bench._parts.engine.state_bytes == 0
        assert not runner._running


@pytest.mark.parametrize("which", [0, 1])
async def test_job_that_waits_for_its_turn_ends_decoded_or_not(
    redis_url: str, namespace: str, runner: Runner, benches: Benches, which: int
) -> None:
    clock = Clock()
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue, clock=clock)
        bench._parts.intake.pixels = Pool(runner.estimate_pixel_bytes(96, 80))  # for one of the two
        within = [1000.0 if number == which else None for number in range(2)]
        jobs = [await queue.submit(photo_job(start_within_s=within_s), noise_png()) for within_s in within]
        helds = await benches.take(bench, queue, *jobs)

        async def is_first_decoded() -> bool:
            return helds[0].phase is Phase.WAITING

        await until(is_first_decoded, WAIT_S)
        assert helds[1].phase is Phase.CLAIMED
        clock.ahead_s = 2000.0
        benches.start(bench)
        await assert_late(queue, jobs[which], "start_within")
        assert (await queue.wait(jobs[1 - which].id, WAIT_S)).state is JobState.SUCCEEDED
        assert helds[which].pixel_bytes == 0


async def test_job_that_waited_in_the_queue_for_too_long_is_not_even_decoded(
    redis_url: str, namespace: str, benches: Benches
) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        jobs = [
            await queue.submit(photo_job(start_within_s=30.0), b"no photo: decoding it would be another error"),
            await queue.submit(photo_job(finish_within_s=45.0), b"likewise"),
            await queue.submit(photo_job(start_within_s=90.0), noise_png()),
        ]
        for job in jobs:
            await call(queue._redis, "HINCRBY", Keys(namespace).job(job.id), "accepted_ms", -60_000)
        benches.start(bench)
        await benches.take(bench, queue, *jobs)
        await assert_late(queue, jobs[0], "start_within")
        await assert_late(queue, jobs[1], "finish_within")
        assert (await queue.wait(jobs[2].id, WAIT_S)).state is JobState.SUCCEEDED


class BlockedModels(ModelSet):
    """Models whose first photo is being decoded for as long as the test likes."""

    def __init__(self, runner: Runner) -> None:
        super().__init__({runner.name: runner})
        self.go_on = threading.Event()

    def decode(self, image: bytes, mask: bytes | None) -> DecodedPhoto:
        self.go_on.wait(WAIT_S)
        return super().decode(image, mask)


async def test_deadline_is_kept_while_nothing_else_happens(
    redis_url: str, namespace: str, runner: Runner, benches: Benches
) -> None:
    models = BlockedModels(runner)
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue, models)
        bench._parts.intake.pixels = Pool(runner.estimate_pixel_bytes(96, 80))
        benches.start(bench)
        first = await queue.submit(photo_job(), noise_png())
        second = await queue.submit(photo_job(start_within_s=0.3), noise_png())
        await benches.take(bench, queue, first, second)
        try:
            await assert_late(queue, second, "start_within")  # although no step, photo or message wakes anybody
        finally:
            models.go_on.set()
        assert (await queue.wait(first.id, WAIT_S)).state is JobState.SUCCEEDED
