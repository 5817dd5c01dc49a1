"""Photos that wait together are looked at together where that pays, as on a GPU; here a CPU is told that it does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from app.jobs.job import JobState, RestoreOptions
from app.jobs.queue import JobQueue, QueuePolicy
from app.worker.runner import Runner
from app.worker.workbench import Workbench
from model.observe import observe_photos
from tests.support.jobs import open_queue
from tests.support.workers import Benches, noise_png, photo_job

pytestmark = pytest.mark.anyio
POLICY = QueuePolicy(lease_ms=60_000)
WAIT_S = 60.0
PHOTOS = 6


@pytest.fixture
def groups(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Looks at up to four photos together; gives the sizes of the groups."""
    seen: list[int] = []

    def observe(guidance: Any, images: Sequence[torch.Tensor], *rest: Any) -> Any:
        seen.append(len(images))
        return observe_photos(guidance, images, *rest)

    monkeypatch.setattr(Runner, "looks_together", 4)
    monkeypatch.setattr("model.pipeline.observe_photos", observe)
    return seen


async def submit(queue: JobQueue, bench: Workbench, benches: Benches) -> list[str]:
    jobs = [
        await queue.submit(photo_job(70 + 9 * n, 64, steps=1, seed=n), noise_png(70 + 9 * n, 64, n))
        for n in range(PHOTOS)
    ]
    helds = await benches.take(bench, queue, *jobs)
    await asyncio.gather(*(held.task for held in helds if held.task is not None))  # all decoded
    benches.start(bench)
    return [job.id for job in jobs]


async def test_waiting_photos_are_looked_at_in_groups_and_each_keeps_its_own(
    redis_url: str, namespace: str, runner: Runner, benches: Benches, groups: list[int]
) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        groups.clear()  # of the warm-up
        ids = await submit(queue, bench, benches)
        done = [await queue.wait(job_id, WAIT_S) for job_id in ids]
        assert [job.state for job in done] == [JobState.SUCCEEDED] * PHOTOS
        assert groups == [4, 2]
        for n, job in enumerate(done):
            photo = runner.decode(noise_png(70 + 9 * n, 64, n), None)
            seen = runner.analyze(job.id, photo, RestoreOptions())
            assert job.caption == seen.caption
            assert [item.kind for item in job.findings] == [item.kind for item in seen.findings]
            assert [item.probability for item in job.findings] == pytest.approx([i.probability for i in seen.findings])


async def test_a_group_that_cannot_be_looked_at_is_looked_at_one_by_one(
    redis_url: str,
    namespace: str,
    runner: Runner,
    benches: Benches,
    groups: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    observe = observe_photos

    def fails_together(guidance: Any, images: Sequence[torch.Tensor], *rest: Any) -> Any:
        groups.append(len(images))
        if len(images) > 1:
            raise RuntimeError("planted")
        return observe(guidance, images, *rest)

    monkeypatch.setattr("model.pipeline.observe_photos", fails_together)
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        groups.clear()
        ids = await submit(queue, bench, benches)
        for job_id in ids:
            assert (await queue.wait(job_id, WAIT_S)).state is JobState.SUCCEEDED
        assert sorted(groups) == [1] * PHOTOS + [2, 4]
        assert not runner._seen
