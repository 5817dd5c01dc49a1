"""Results for callers' buckets on their way out of a real worker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.jobs.job import Job, JobState
from app.jobs.queue import JobQueue, QueuePolicy
from app.storage import buckets
from app.storage.buckets import BucketPolicy, CallerBuckets
from app.storage.objects import ObjectStore
from app.storage.setup import Storage
from app.storage.urls import AllowedPrefixes, ObjectUrl
from app.worker.runner import Runner
from tests.support.jobs import LONG_LEASE_MS
from tests.support.object_store import BreakableStore
from tests.support.workers import noise_png, photo_job, working

pytestmark = pytest.mark.anyio

WAIT_S = 60.0


class OneBucket(CallerBuckets):
    """Callers' buckets, all of them the same one in memory."""

    def __init__(self) -> None:
        super().__init__(BucketPolicy(writable=AllowedPrefixes.parse("s3://results")))
        self.bucket = BreakableStore()

    def _store(self, url: ObjectUrl) -> ObjectStore:
        return self.bucket


def job_for(output_url: str) -> Job:
    job = photo_job(steps=1)
    return replace(job, options=replace(job.options, output_url=output_url))


async def test_a_job_that_succeeded_has_its_result_there_and_others_say_why_not(
    redis_url: str, namespace: str, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "_DELIVERY_DELAYS_S", (0.0, 0.0))
    callers, own = OneBucket(), BreakableStore()
    policy = QueuePolicy(lease_ms=LONG_LEASE_MS)
    queue = JobQueue.from_url(redis_url, namespace, policy, Storage(own, callers))
    try:
        async with working(queue, runner):
            good = await queue.submit(job_for("s3://results/a/"), noise_png())
            assert (await queue.wait(good.id, WAIT_S)).state is JobState.SUCCEEDED
            assert callers.bucket.kept() == [f"a/{good.id}.png"]
            assert await callers.bucket.get(f"a/{good.id}.png") == await queue.result(good.id)

            with callers.bucket.broken():
                lost = await queue.submit(job_for("s3://results/b.png"), noise_png())
                ended = await queue.wait(lost.id, WAIT_S)
            assert (ended.state, ended.error_code) == (JobState.FAILED, "output_delivery_failed")
            assert ended.attempt == 1  # the device does not restore it again for that

            # Accepted by an API with other settings.
            elsewhere = await queue.submit(job_for("s3://other/c.png"), noise_png())
            ended = await queue.wait(elsewhere.id, WAIT_S)
            assert (ended.state, ended.error_code) == (JobState.FAILED, "output_url_refused")

            after = await queue.submit(job_for("s3://results/d.png"), noise_png())
            assert (await queue.wait(after.id, WAIT_S)).state is JobState.SUCCEEDED
        assert callers.bucket.kept() == [f"a/{good.id}.png", "d.png"]
        # Of the jobs that failed no result is left in the service's own store.
        results = [name for name in own.kept() if name.startswith("result/")]
        assert results == sorted(f"result/{job.id}-1" for job in (good, after))
    finally:
        await queue.close()
