"""The lag of the groups, by which an autoscaler counts waiting jobs, is there in every order in which jobs end."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from app.jobs.connection import call, connect
from app.jobs.keys import GROUP, Keys
from app.jobs.queue import Claim, JobQueue
from tests.support.jobs import make_job, open_queue

pytestmark = pytest.mark.anyio


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    if int((await call(client, "INFO", "server"))["redis_version"].split(".")[0]) < 7:
        pytest.skip("this Redis is older than 7 and has no lag")
    yield client
    await client.aclose()


@pytest.fixture
async def queue(redis_url: str, namespace: str) -> AsyncIterator[JobQueue]:
    async with open_queue(redis_url, namespace) as opened:
        yield opened


async def take(queue: JobQueue, jobs: int) -> list[Claim]:
    return await queue.claim("ada", jobs, 0)


async def finish(queue: JobQueue, claim: Claim) -> None:
    assert await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)


async def lag(redis: Redis, namespace: str) -> object:
    (group,) = await call(redis, "XINFO GROUPS", Keys(namespace).stream("interactive"))
    return group["lag"]


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
async def test_whatever_ends_first(queue: JobQueue, redis: Redis, namespace: str, order: tuple[int, ...]) -> None:
    for _ in range(5):
        await queue.submit(make_job(), b"photo")
    claims = await take(queue, 3)
    for index in order:
        await finish(queue, claims[index])
        assert await lag(redis, namespace) == 2
    assert await call(redis, "XLEN", Keys(namespace).stream("interactive")) == 2


async def test_what_ended_behind_a_long_job_goes_with_it(queue: JobQueue, redis: Redis, namespace: str) -> None:
    stream = Keys(namespace).stream("interactive")
    for _ in range(6):
        await queue.submit(make_job(), b"photo")
    long, *others = await take(queue, 5)
    for claim in others:
        await finish(queue, claim)
    assert await lag(redis, namespace) == 1
    await finish(queue, long)
    assert await lag(redis, namespace) == 1
    assert await call(redis, "XLEN", stream) == 1


async def test_after_the_group_was_deleted_what_ends_leaves_no_hole(
    queue: JobQueue, redis: Redis, namespace: str
) -> None:
    stream = Keys(namespace).stream("interactive")
    for _ in range(3):
        await queue.submit(make_job(), b"photo")
    claims = await take(queue, 2)
    await call(redis, "XGROUP", "DESTROY", stream, GROUP)
    assert (await queue.renew(claims[0])).owned, "its job is still its own"
    await queue.ensure()
    await finish(queue, claims[1])
    assert await lag(redis, namespace) == 3
    assert len(await take(queue, 9)) == 1  # the one that waits; the one that runs is its own already
    assert await lag(redis, namespace) == 0


async def test_a_redis_that_came_back_empty_has_its_groups_with_the_first_job(
    queue: JobQueue, redis: Redis, namespace: str
) -> None:
    keys = Keys(namespace)
    await call(redis, "DEL", keys.stream("interactive"), keys.stream("batch"))
    await queue.submit(make_job(), b"photo")
    assert await lag(redis, namespace) == 1
    (other,) = await call(redis, "XINFO GROUPS", keys.stream("batch"))
    assert (other["name"], other["lag"]) == (GROUP.encode(), 0)
