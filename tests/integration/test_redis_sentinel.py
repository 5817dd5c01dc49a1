"""The queue behind a Sentinel: it follows the master, whether that is handed over or killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from app.errors import QueueUnavailableError
from app.jobs.connection import call
from app.jobs.job import JobState
from app.jobs.keys import Keys
from app.jobs.queue import Claim, JobQueue
from app.worker.courier import end_tasks
from tests.support.jobs import make_job, open_queue, until
from tests.support.redis_nodes import RedisNode, Sentinel, free_port, wait_for

pytestmark = pytest.mark.anyio


class Watched:
    """A master, its replica, and the Sentinel that watches them."""

    def __init__(self) -> None:
        self.first, self.second = RedisNode("--appendonly", "no"), RedisNode("--appendonly", "no")
        self.sentinel = Sentinel(self.first)

    def start(self) -> None:
        self.first.start()
        self.second.start()
        self.second.ask("REPLICAOF", "127.0.0.1", self.first.port)
        wait_for(lambda: self.second.replicates(self.first), "the replica has begun")
        self.sentinel.start()
        wait_for(self.sentinel.knows_replica, "the Sentinel knows the replica")

    def close(self) -> None:
        for node in (self.sentinel, self.first, self.second):
            node.close()

    @property
    def url(self) -> str:
        silent = f"127.0.0.1:{free_port()}"  # one of the Sentinels is down
        return f"redis+sentinel://{silent},{self.sentinel.address}/photos"


@pytest.fixture
def watched() -> Iterator[Watched]:
    nodes = Watched()
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.close()


@pytest.fixture
async def queue(watched: Watched) -> AsyncIterator[JobQueue]:
    async with open_queue(watched.url, "") as opened:
        yield opened


async def is_back(queue: JobQueue) -> bool:
    try:
        await queue.submit(make_job(), b"one more")
    except QueueUnavailableError:
        return False
    return True


async def finish(queue: JobQueue, claim: Claim) -> bool:
    return await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)


async def test_queue_goes_on_when_the_master_is_handed_over(queue: JobQueue, watched: Watched) -> None:
    assert await queue.check() == queue.server
    running, waiting = await queue.submit(make_job(), b"photo"), await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    with queue.news.follow(waiting.id):  # connections of all kinds: blocked, subscribed, in the pool
        waiter = asyncio.create_task(queue.wait(waiting.id, 60))
        watched.sentinel.ask("SENTINEL", "FAILOVER", "photos")
        wait_for(lambda: watched.sentinel.master_port() == watched.second.port, "the master is handed over")
        await until(lambda: is_back(queue), 30)
        await end_tasks([waiter])
    assert (await queue.renew(claim)).owned
    assert await finish(queue, claim)
    assert await queue.result(running.id) == b"restored"
    assert watched.second.client.info("replication")["role"] == "master"
    assert watched.second.client.hget(Keys().job(running.id), "state") == b"succeeded"


async def test_queue_goes_on_when_the_master_is_killed(queue: JobQueue, watched: Watched) -> None:
    running, waiting = await queue.submit(make_job(), b"photo"), await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    assert await call(queue._redis, "WAIT", 1, 10_000) == 1  # what had not reached the replica would be lost
    watched.first.kill()
    with pytest.raises(QueueUnavailableError):
        await queue.get(running.id)
    await until(lambda: is_back(queue), 30)
    assert watched.sentinel.master_port() == watched.second.port
    assert (await queue.get(running.id)).state is JobState.RUNNING
    assert await finish(queue, claim)
    assert await queue.result(running.id) == b"restored"
    waiter = asyncio.create_task(queue.wait(waiting.id, 60))
    claims = await queue.claim("w", 9, 5000)
    assert claims[0].job_id == waiting.id
    assert await finish(queue, claims[0])
    assert (await waiter).state is JobState.SUCCEEDED


async def test_who_knows_no_master_is_named_and_waited_for(watched: Watched) -> None:
    async with open_queue(f"redis+sentinel://{watched.sentinel.address}/videos", "") as queue:
        with pytest.raises(QueueUnavailableError, match=f"{watched.sentinel.address}: knows no master 'videos'"):
            await queue.ping()
    silent = f"127.0.0.1:{free_port()}"
    async with open_queue(f"redis+sentinel://{silent}/photos", "") as queue:
        with pytest.raises(QueueUnavailableError, match=f"{silent}: ConnectionError"):
            await queue.ping()


async def test_replica_that_is_taken_for_the_master_is_not_used(watched: Watched) -> None:
    watched.sentinel.kill()  # and is wrong when it comes back
    other = Sentinel(watched.second)
    other.start()
    try:
        async with open_queue(f"redis+sentinel://{other.address}/photos", "") as queue:
            with pytest.raises(QueueUnavailableError):
                await queue.get("0" * 32)  # a replica would answer
    finally:
        other.close()
