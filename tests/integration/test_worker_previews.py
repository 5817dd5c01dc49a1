"""A real worker shows jobs to those who listen, and spends nothing on jobs that nobody listens to."""

from __future__ import annotations

import asyncio
import io
import threading

import numpy as np
import pytest
from PIL import Image

from app.images import PixelArray
from app.jobs.claim import Claim, Renewal
from app.jobs.job import JobState
from app.jobs.previews import Preview
from app.jobs.queue import JobQueue, QueuePolicy
from app.worker.models import ModelSet
from app.worker.previews import PreviewPolicy
from app.worker.runner import Runner
from tests.support.jobs import open_queue
from tests.support.workers import Benches, noise_png, photo_job

pytestmark = pytest.mark.anyio
POLICY = QueuePolicy(lease_ms=60_000)
WAIT_S = 60.0


class WatchedModels(ModelSet):
    """Models that note what they were asked to show, and may fail at it."""

    def __init__(self, runner: Runner, error: Exception | None = None) -> None:
        super().__init__({runner.name: runner})
        self.asked: list[str] = []
        self.error = error

    def preview(self, job_id: str, longest_px: int) -> PixelArray | None:
        self.asked.append(job_id)
        if self.error is not None:
            raise self.error
        return super().preview(job_id, longest_px)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Preview]]:
    """Every preview that reaches the queue."""
    found: list[tuple[str, Preview]] = []
    real = JobQueue.preview

    async def note(self: JobQueue, claim: Claim, preview: Preview) -> Renewal:
        found.append((claim.job_id, preview))
        return await real(self, claim, preview)

    monkeypatch.setattr(JobQueue, "preview", note)
    return found


async def test_listener_gets_small_pictures_of_rising_steps_and_others_cost_nothing(
    redis_url: str, namespace: str, runner: Runner, benches: Benches, sent: list[tuple[str, Preview]]
) -> None:
    models = WatchedModels(runner)
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue, models, previews=PreviewPolicy(every=1, longest_px=48))
        watched = await queue.submit(photo_job(200, 100, steps=6), noise_png(200, 100))
        other = await queue.submit(photo_job(200, 100, steps=6), noise_png(200, 100))
        await queue.listen(watched.id)
        benches.start(bench)
        await benches.take(bench, queue, watched, other)
        for job in (watched, other):
            assert (await queue.wait(job.id, WAIT_S)).state is JobState.SUCCEEDED
        assert set(models.asked) == {watched.id}
        assert {job_id for job_id, _ in sent} == {watched.id}
        steps = [preview.step for _, preview in sent]
        assert steps == sorted(set(steps))
        assert steps[0] >= 1
        assert steps[-1] <= 5  # the last step's picture is the result
        for _, preview in sent:
            with Image.open(io.BytesIO(preview.data)) as image:
                assert (image.format, image.size) == ("WEBP", (48, 24)) == ("WEBP", (preview.width, preview.height))


async def test_trouble_with_previews_does_not_touch_the_job(
    redis_url: str, namespace: str, runner: Runner, benches: Benches, sent: list[tuple[str, Preview]]
) -> None:
    models = WatchedModels(runner, error=RuntimeError("a bug"))
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue, models)
        job = await queue.submit(photo_job(steps=6), noise_png())
        await queue.listen(job.id)
        benches.start(bench)
        await benches.take(bench, queue, job)
        assert (await queue.wait(job.id, WAIT_S)).state is JobState.SUCCEEDED
        assert models.asked
        assert not sent


async def test_newer_preview_takes_the_place_of_one_that_waits(
    redis_url: str, namespace: str, benches: Benches, sent: list[tuple[str, Preview]]
) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        job = await queue.submit(photo_job(steps=9), noise_png())
        await queue.listen(job.id)
        (held,) = await benches.take(bench, queue, job)
        assert held.task is not None
        await held.task  # decoded; and nothing is computed in this test
        held.steps_total = 9
        blocked = [threading.Event() for _ in range(2)]
        busy = [asyncio.create_task(bench._threads.in_photo("x", event.wait, WAIT_S)) for event in blocked]
        try:
            for step in range(1, 6):
                held.step = step
                bench._previews.show(held, np.full((4, 6, 3), step, np.uint8))
                await asyncio.sleep(0)  # the first one is on its way to a thread, where it waits
            assert len(bench._previews._tasks) == 1
        finally:
            for event in blocked:
                event.set()
        await asyncio.gather(*busy)
        assert held.preview_task is not None
        await held.preview_task
        assert [preview.step for _, preview in sent] == [1, 5]
