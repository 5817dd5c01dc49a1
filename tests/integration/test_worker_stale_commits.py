"""A commit that comes too late is refused, changes nothing and is counted."""

from __future__ import annotations

import pytest

from app.jobs.job import JobState
from app.metrics import WORKER
from tests.support.jobs import open_queue
from tests.support.workers import Benches, noise_png, photo_job, until_decoded

pytestmark = pytest.mark.anyio


def stale_commits() -> float:
    return WORKER.get_sample_value("vlmir_stale_commits_total") or 0.0


async def test_late_commits_are_counted(redis_url: str, namespace: str, benches: Benches) -> None:
    async with open_queue(redis_url, namespace) as queue:
        bench = await benches.set_up(queue)
        job = await queue.submit(photo_job(), noise_png())
        (first,) = await queue.claim("slow", 1, 0)
        bench.accept(first)
        held = bench.held[job.id]

        await until_decoded(held)
        await queue.hand_back(first)
        (second,) = await queue.claim("other", 1, 0)
        bench._take_out(held)
        before = stale_commits()
        await bench.outcomes.canceled(held)
        assert stale_commits() == before + 1
        now = await queue.get(job.id)
        assert (now.state, now.attempt) == (JobState.RUNNING, second.fence)
        assert await queue.canceled(second)
        assert stale_commits() == before + 1
