"""A Redis that comes back without its last writes, while workers know more than it: a crash between two writes to the
disk, a failover to a replica that was behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from app.jobs.connection import call
from app.jobs.job import JobState
from app.jobs.keys import Keys
from app.jobs.queue import Claim, JobQueue
from tests.support.jobs import make_job, open_queue

pytestmark = pytest.mark.anyio


@pytest.fixture
async def queues(redis_url: str, namespace: str) -> AsyncIterator[tuple[JobQueue, JobQueue]]:
    """Two processes' worth of queues."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_queue(redis_url, namespace))
        yield first, await stack.enter_async_context(open_queue(redis_url, namespace))


class Disk:
    """What Redis has written, of one namespace."""

    def __init__(self, queue: JobQueue, namespace: str) -> None:
        self._redis, self._pattern = queue._redis, f"{Keys(namespace).prefix}*"
        self._written: dict[bytes, bytes] = {}

    async def write(self) -> None:
        names = await call(self._redis, "KEYS", self._pattern)
        self._written = {name: await call(self._redis, "DUMP", name) for name in names}

    async def lose_the_rest(self) -> None:
        await call(self._redis, "DEL", *await call(self._redis, "KEYS", self._pattern))
        for name, data in self._written.items():
            await call(self._redis, "RESTORE", name, 0, data)


async def finish(queue: JobQueue, claim: Claim, image: bytes = b"restored") -> bool:
    return await queue.finish(claim, image, "image/png", caption=None, findings=(), steps_total=1)


async def shared_fence(queues: tuple[JobQueue, JobQueue], namespace: str) -> tuple[Claim, Claim]:
    """A claim that Redis has forgotten, and the one of another worker that got the same fence of the same entry."""
    disk = Disk(queues[0], namespace)
    await queues[0].submit(make_job(), b"photo")
    await queues[0].ensure()
    await disk.write()
    (forgotten,) = await queues[0].claim("ada", 1, 0)
    await disk.lose_the_rest()
    (good,) = await queues[1].claim("bob", 1, 0)
    assert (good.fence, good.entry_id) == (forgotten.fence, forgotten.entry_id)
    return forgotten, good


async def test_a_forgotten_claim_is_refused_although_its_fence_is_good(
    queues: tuple[JobQueue, JobQueue], namespace: str
) -> None:
    forgotten, good = await shared_fence(queues, namespace)
    first, second = queues
    assert not (await first.renew(forgotten)).owned
    assert not (await first.progress(forgotten, 1, 2)).owned
    assert not await first.fail(forgotten, "restoration_failed", "late")
    assert not await first.hand_back(forgotten)
    assert not await first.canceled(forgotten)
    assert not await finish(first, forgotten)
    assert (await first.get(good.job_id)).state is JobState.RUNNING
    assert await finish(second, good)


async def test_a_refused_commit_takes_no_result_from_under_another(
    queues: tuple[JobQueue, JobQueue], namespace: str
) -> None:
    forgotten, good = await shared_fence(queues, namespace)
    name = Keys(namespace).result(good.job_id, good.fence)
    await queues[1]._blobs.put(name, b"by bob", 60)  # the first half of its commit
    assert not await finish(queues[0], forgotten)
    assert await queues[1]._scripts.finish(good, "image/png", "", "[]", 1, "", b"")
    assert await queues[1].result(good.job_id) is not None


async def test_a_commit_that_is_forgotten_is_made_again(queues: tuple[JobQueue, JobQueue], namespace: str) -> None:
    disk = Disk(queues[0], namespace)
    job = await queues[0].submit(make_job(), b"photo")
    (claim,) = await queues[0].claim("ada", 1, 0)
    await disk.write()
    assert await finish(queues[0], claim)
    await disk.lose_the_rest()
    assert (await queues[0].get(job.id)).state is JobState.RUNNING
    (again,) = await queues[0].claim("ada", 1, 0)  # it knows that it works on nothing, so it gets it back
    assert again.job.attempt == 2
    assert await finish(queues[0], again)
    assert await queues[0].result(job.id) == b"restored"
