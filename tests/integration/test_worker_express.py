"""A small photo that somebody waits for begins promptly whatever large ones a worker is busy with; all are served.

What counts as small is set to a few pixels here, so that photos of the tests' size are large.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from app.images import Photo
from app.jobs.job import Job, JobState, RestoreOptions
from app.jobs.queue import JobQueue, QueuePolicy
from app.worker.loop import LoopPolicy, WorkerLoop
from app.worker.models import ModelSet
from app.worker.runner import Runner
from app.worker.stages import AnalyzedPhoto, BegunJob, DecodedPhoto, RestoredPhoto
from app.worker.threads import PHOTO_THREADS
from tests.support.jobs import open_queue, until
from tests.support.workers import Benches, noise_png, photo_job, tiny_runner, working

pytestmark = pytest.mark.anyio
POLICY = QueuePolicy(lease_ms=60_000)
LOOP = LoopPolicy(claim_block_ms=50, grace_s=0.0)
WAIT_S = 60.0
LARGE, SMALL = (96, 80), (64, 48)


@pytest.fixture(autouse=True)
def few_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("held", "intake"):
        monkeypatch.setattr(f"app.worker.{module}.EXPRESS_SIZE", SMALL)


def leave_memory_for(runner: Runner, patch: pytest.MonkeyPatch, larges: int) -> None:
    """Memory for so many large photos, beside the reserve; a state takes what its photo's pixels say."""
    begin = runner.begin

    def begin_sized(job_id: str, decoded: DecodedPhoto, options: RestoreOptions) -> BegunJob:
        height, width = decoded.image.shape[2:]
        return replace(begin(job_id, decoded, options), state_bytes=height * width)

    patch.setattr(runner, "begin", begin_sized)
    patch.setattr(runner, "estimate_state_bytes", lambda width, height: width * height)
    patch.setattr(runner, "state_budget_bytes", lambda: larges * LARGE[0] * LARGE[1] + 2 * SMALL[0] * SMALL[1])


async def submit_large(
    queue: JobQueue, count: int, priority: str = "interactive", size: tuple[int, int] = LARGE
) -> list[Job]:
    """Photos that take longer than what the tests do meanwhile."""
    jobs = [replace(photo_job(*size, steps=100, seed=n), priority=priority) for n in range(count)]
    return [await queue.submit(job, noise_png(*size, n)) for n, job in enumerate(jobs)]


async def until_full(loop: WorkerLoop, held: int) -> None:
    """Returns when the worker holds so many and is looking for express jobs alone."""

    async def is_full() -> bool:
        return len(loop._bench.held) == held and loop._bench.ask().is_search

    await until(is_full, WAIT_S)


async def restore_smalls(queue: JobQueue) -> None:
    for n in range(2):
        small = await queue.submit(photo_job(*SMALL, seed=n), noise_png(*SMALL, n))
        assert (await queue.wait(small.id, WAIT_S)).state is JobState.SUCCEEDED


async def cancel(queue: JobQueue, jobs: list[Job]) -> None:
    for job in jobs:
        await queue.cancel(job.id)


@pytest.mark.parametrize("larges", [3, 8])
async def test_thumbnails_are_done_while_eight_large_photos_wait_or_run(
    redis_url: str, namespace: str, runner: Runner, monkeypatch: pytest.MonkeyPatch, larges: int
) -> None:
    """With memory for three of them, and with memory for all of them, where places are scarce."""
    leave_memory_for(runner, monkeypatch, larges)
    async with open_queue(redis_url, namespace, POLICY) as queue:
        large = await submit_large(queue, 8)
        async with working(queue, runner, LOOP) as loop:
            await until_full(loop, 8)
            await restore_smalls(queue)
            for job in large:
                now = await queue.get(job.id)
                assert now.state is JobState.RUNNING
                assert now.step < 100
            await cancel(queue, large)


@pytest.mark.parametrize("larges", [3, 8])
async def test_interactive_photos_are_found_behind_a_flood_of_batch_jobs(
    redis_url: str, namespace: str, runner: Runner, monkeypatch: pytest.MonkeyPatch, larges: int
) -> None:
    """A worker full of them takes no more, however many wait: the places beyond are for jobs somebody waits for."""
    leave_memory_for(runner, monkeypatch, larges)
    async with open_queue(redis_url, namespace, POLICY) as queue:
        flood = await submit_large(queue, 20, "batch")
        async with working(queue, runner, LOOP) as loop:
            await until_full(loop, 6)
            await restore_smalls(queue)
            large = await submit_large(queue, 1)  # may have to wait for memory, but not in the queue

            async def is_found() -> bool:
                return large[0].id in loop._bench.held

            await until(is_found, WAIT_S)
            waiting = [job for job in flood if (await queue.get(job.id)).state is JobState.QUEUED]
            assert len(waiting) == 14, "no batch job ended and none was taken beyond the worker's places"
            await cancel(queue, waiting + flood + large)


@pytest.mark.parametrize("flood", [0, 4])
async def test_second_worker_gets_what_the_first_one_could_not_begin(
    redis_url: str, namespace: str, runner: Runner, monkeypatch: pytest.MonkeyPatch, flood: int
) -> None:
    """However many jobs of batches wait in the queue: those are none that it should do first."""
    leave_memory_for(runner, monkeypatch, 1)
    other = tiny_runner()
    leave_memory_for(other, monkeypatch, 1)
    policy = replace(LOOP, announce_s=0.2)
    async with open_queue(redis_url, namespace, POLICY) as queue, open_queue(redis_url, namespace, POLICY) as second:
        large = await submit_large(queue, 6, size=(300, 300))  # not done before the other worker is ready
        async with working(queue, runner, policy) as first:
            await until_full(first, 6)
            batch = await submit_large(queue, flood, "batch", size=(300, 300))
            async with working(second, other, policy) as late:

                async def has_some() -> bool:
                    return any(job.id in late._bench.held for job in large)

                async def has_begun_one() -> bool:
                    return any(held.step for held in late._bench.held.values())

                await until(has_some, WAIT_S)
                await until(has_begun_one, WAIT_S)
                await cancel(queue, large + batch)


@pytest.mark.parametrize("is_encoding", [False, True])
async def test_thumbnail_does_not_wait_for_threads_that_are_busy_with_large_photos(
    redis_url: str, namespace: str, runner: Runner, benches: Benches, is_encoding: bool
) -> None:
    models = SlowPhotos(runner, is_encoding)
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue, models)
        benches.start(bench)
        large = [await queue.submit(photo_job(*LARGE, steps=1, seed=n), noise_png(*LARGE, n)) for n in range(3)]
        await benches.take(bench, queue, *large)
        try:
            await until(models.are_all_busy, WAIT_S)
            small = await queue.submit(photo_job(*SMALL), noise_png(*SMALL))
            await benches.take(bench, queue, small)
            assert (await queue.wait(small.id, WAIT_S)).state is JobState.SUCCEEDED
        finally:
            models.go_on.set()
        for job in large:
            assert (await queue.wait(job.id, WAIT_S)).state is JobState.SUCCEEDED


class SlowPhotos(ModelSet):
    """Models whose large photos are decoded, or encoded, for as long as the test likes."""

    def __init__(self, runner: Runner, is_encoding: bool) -> None:
        super().__init__({runner.name: runner})
        self.go_on = threading.Event()
        self._is_encoding = is_encoding
        self._busy = 0

    async def are_all_busy(self) -> bool:
        return self._busy == PHOTO_THREADS

    def decode(self, image: bytes, mask: bytes | None) -> DecodedPhoto:
        decoded = super().decode(image, mask)
        if not self._is_encoding:
            self._stay(decoded.photo)
        return decoded

    def encode(self, restored: RestoredPhoto | AnalyzedPhoto) -> tuple[bytes, str]:
        if self._is_encoding and isinstance(restored, RestoredPhoto):
            self._stay(restored.photo)
        return super().encode(restored)

    def _stay(self, photo: Photo) -> None:
        if (photo.width, photo.height) == LARGE:
            self._busy += 1
            self.go_on.wait(WAIT_S)
