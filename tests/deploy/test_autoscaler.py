"""What KEDA would read: the triggers of the manifests asked of a real Redis, before, while and after a job waits."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from app.jobs.connection import call, connect
from app.settings import Settings
from tests.deploy.manifests import NO_KUBECTL, build, can_build, one
from tests.support.jobs import make_job, open_queue, until
from tests.support.redis_server import RedisServer
from tests.support.server import live_api

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not can_build(), reason=NO_KUBECTL)]

IDLE = {"interactive-waiting": 0, "interactive-running": 0, "batch-waiting": 0, "batch-running": 0}


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    """A server of its own: the streams in the manifests are those of no namespace."""
    server = RedisServer()
    server.start()
    client = connect(server.url)
    try:
        if int((await call(client, "INFO", "server"))["redis_version"].split(".")[0]) < 7:
            pytest.skip("this Redis is older than 7 and has no lag")
        yield client
    finally:
        await client.aclose()
        server.close()


def url_of(redis: Redis) -> str:
    return f"unix://{redis.connection_pool.connection_kwargs['path']}"


async def readings(redis: Redis) -> dict[str, int]:
    """The value of each trigger by its name, read with the commands that KEDA sends."""
    values = {}
    for trigger in one(build("gpu"), "ScaledObject", "restore-worker")["spec"]["triggers"]:
        told = trigger["metadata"]
        if "lagCount" in told:
            name = told["consumerGroup"].encode()
            (found,) = [group for group in await redis.xinfo_groups(told["stream"]) if group["name"] == name]
            values[trigger["name"]] = found["lag"]
        else:
            values[trigger["name"]] = (await redis.xpending(told["stream"], told["consumerGroup"]))["pending"]
    return values


async def test_there_is_something_to_read_before_any_worker_was_there(redis: Redis) -> None:
    async def streams_are_there() -> bool:
        return await redis.exists("{vlmir}:jobs:interactive", "{vlmir}:jobs:batch") == 2

    async with live_api(Settings(redis_url=url_of(redis))):
        await until(streams_are_there, 60)
        assert await readings(redis) == IDLE


async def test_lag_wakes_a_worker_and_pending_keeps_it(redis: Redis) -> None:
    async with open_queue(url_of(redis), "") as queue:
        await queue.ensure()  # as the API does when it starts
        for priority in ("interactive", "batch"):
            await queue.submit(make_job(priority), b"photo")
            assert await readings(redis) == IDLE | {f"{priority}-waiting": 1}
            (claim,) = await queue.claim("ada", 1, 0)
            assert await readings(redis) == IDLE | {f"{priority}-running": 1}  # by lag alone it would look idle
            assert await queue.hand_back(claim)
            assert await readings(redis) == IDLE | {f"{priority}-waiting": 1}  # somebody is wanted again
            (claim,) = await queue.claim("bob", 1, 0)
            assert await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)
            assert await readings(redis) == IDLE
