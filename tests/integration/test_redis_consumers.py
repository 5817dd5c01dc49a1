"""Consumers of workers that were killed: gone once nothing is pending for them, and never before."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from app.jobs.connection import call
from app.jobs.keys import GROUP, Keys
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import LONG_LEASE_MS, SHORT_LEASE_MS, make_job, open_queue, until
from tests.support.redis_server import RedisServer
from tests.support.server_binaries import binaries

pytestmark = pytest.mark.anyio

HASTY = QueuePolicy(lease_ms=SHORT_LEASE_MS, consumer_idle_ms=1)


@pytest.fixture(scope="module", params=list(binaries().values()), ids=list(binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    own = RedisServer(binary=request.param)
    own.start()
    yield own
    own.close()


@pytest.fixture
async def queue(server: RedisServer, namespace: str) -> AsyncIterator[JobQueue]:
    async with open_queue(server.url, namespace, HASTY) as opened:
        await opened.ensure()
        yield opened


async def consumers(queue: JobQueue) -> dict[str, int]:
    """Name and pending entries of every consumer, over all streams."""
    found: dict[str, int] = {}
    for priority in ("interactive", "batch"):
        for row in await call(queue._redis, "XINFO CONSUMERS", queue._keys.stream(priority), GROUP):
            name = row["name"].decode()
            found[name] = found.get(name, 0) + row["pending"]
    return found


async def looked_again(queue: JobQueue, namespace: str) -> None:
    """As a minute later."""
    await call(queue._redis, "DEL", f"{Keys(namespace).workers}:looked")
    await queue.announce("living", ready=True, model="tiny", ttl_ms=60_000)


async def kill_a_claimant(url: str, namespace: str, name: str) -> str:
    """A process that claims one job is killed with the job in its hands; gives the job's id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.claimant", url, namespace, name, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    job_id = (await process.stdout.readline()).decode().strip()
    process.kill()
    await process.wait()
    return job_id


@pytest.mark.parametrize("announced", [True, False])
async def test_killed_workers_leave_no_consumer_once_their_jobs_are_taken_over(
    queue: JobQueue, server: RedisServer, namespace: str, announced: bool
) -> None:
    patient = replace(HASTY, lease_ms=LONG_LEASE_MS, consumer_idle_ms=3_600_000 if announced else 1)
    async with open_queue(server.url, namespace, patient) as waiting:
        job = await queue.submit(make_job(), b"photo")
        if announced:
            await waiting.announce("killed", ready=True, model="tiny", ttl_ms=1)
        assert await kill_a_claimant(server.url, namespace, "killed") == job.id
        for _ in range(2):
            await looked_again(waiting, namespace)
        assert await consumers(waiting) == {"killed": 1}  # deleting it would lose the job
    taken = []

    async def is_taken() -> bool:
        taken.extend(await queue.claim("living", 1, 0))
        return bool(taken)

    await until(is_taken)
    assert taken[0].job_id == job.id
    async with open_queue(server.url, namespace, patient) as waiting:
        await looked_again(waiting, namespace)
        assert await consumers(waiting) == {"living": 1}
        assert [worker.name for worker in await waiting.workers()] == ["living"]
        assert set(await call(queue._redis, "HKEYS", Keys(namespace).workers)) == {b"living"}


async def test_living_workers_that_wait_keep_their_consumer_or_get_it_back(
    queue: JobQueue, server: RedisServer, namespace: str
) -> None:
    async with open_queue(server.url, namespace) as usual:
        done = await usual.submit(make_job(), b"photo")
        (claim,) = await usual.claim("idle", 1, 0)
        assert claim.job_id == done.id
        assert await usual.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)
        await looked_again(usual, namespace)
        assert "idle" in await consumers(usual)  # not for an hour
    await looked_again(queue, namespace)
    assert "idle" not in await consumers(queue)
    job = await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("idle", 1, 0)
    assert claim.job_id == job.id
    assert (await queue.renew(claim)).owned
