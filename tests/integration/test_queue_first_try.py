"""A job that is handed in for the first time: what a queue with room is not asked, and what is refused all the same."""

from __future__ import annotations

import pytest

from app.errors import QueueFullError
from app.jobs.connection import call
from app.jobs.keys import Keys
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import make_job, open_queue
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio


async def scripts_run(queue: JobQueue) -> int:
    stats = await call(queue._redis, "INFO", "commandstats")
    return sum(stats[name]["calls"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats)


async def test_right_after_another_job_the_queue_is_not_asked_for_room() -> None:
    server = RedisServer()  # of its own, because its commands are counted
    server.start()
    async with open_queue(server.url, "") as queue:
        await queue.submit(make_job(), b"photo", is_first_try=True)
        await queue.submit(make_job(), b"photo")
        before = await scripts_run(queue)
        await queue.submit(make_job(), b"photo", is_first_try=True)
        assert await scripts_run(queue) - before == 1
        before = await scripts_run(queue)
        await queue.submit(make_job(), b"photo")  # it may have been handed in before
        assert await scripts_run(queue) - before == 2
    server.close()


async def test_a_queue_that_fills_meanwhile_refuses_and_keeps_no_photo(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(max_queued=4)
    async with open_queue(redis_url, namespace, policy) as mine, open_queue(redis_url, namespace, policy) as other:
        await mine.submit(make_job(), b"photo", is_first_try=True)  # it knows of room for some time
        for _ in range(3):
            await other.submit(make_job(), b"photo")
        refused = make_job()
        with pytest.raises(QueueFullError):
            await mine.submit(refused, b"photo", is_first_try=True)
        assert await call(mine._redis, "EXISTS", Keys(namespace).image(refused.id)) == 0
        with pytest.raises(QueueFullError):
            await mine.submit(make_job(), b"photo", is_first_try=True)
