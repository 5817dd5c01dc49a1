"""Jobs and queues for tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from app.jobs.job import Job, RestoreOptions, new_job_id
from app.jobs.queue import JobQueue, QueuePolicy
from app.storage.buckets import BucketPolicy, CallerBuckets
from app.storage.objects import ObjectStore
from app.storage.setup import Storage

SHORT_LEASE_MS = 150
LONG_LEASE_MS = 60_000  # never lapses within a test, however busy the machine is


def make_job(priority: str = "interactive", tenant: str = "default", seed: int = 0) -> Job:
    return Job(
        id=new_job_id(),
        media_type="image/png",
        width=64,
        height=48,
        input_bytes=5,
        created_ms=int(time.time() * 1000),
        options=RestoreOptions(seed=seed),
        tenant=tenant,
        priority=priority,
    )


@asynccontextmanager
async def open_queue(
    url: str, namespace: str, policy: QueuePolicy | None = None, objects: ObjectStore | None = None
) -> AsyncIterator[JobQueue]:
    storage = None if objects is None else Storage(objects, CallerBuckets(BucketPolicy()))
    queue = JobQueue.from_url(url, namespace, policy or QueuePolicy(lease_ms=LONG_LEASE_MS), storage)
    try:
        yield queue
    finally:
        await queue.close()


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 10.0) -> None:
    """Returns once the condition holds; fails the test when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen in {timeout_s} s")
        await asyncio.sleep(0.01)
