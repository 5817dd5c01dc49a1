"""Random SIGKILLs of workers and of Redis: no job is lost and none finishes twice."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from asyncio.subprocess import Process
from functools import partial

import pytest

from app.errors import QueueUnavailableError
from app.jobs.connection import call, connect
from app.jobs.job import Job, JobState
from app.jobs.keys import GROUP, Keys
from app.jobs.queue import JobQueue
from tests.support.jobs import make_job, open_queue, until
from tests.support.queue_worker import POLICY
from tests.support.redis_server import RedisServer

JOBS = 60
KILLS = 12


async def start_worker(url: str, name: str) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.support.queue_worker", url, "", name)


async def is_accepted(queue: JobQueue, job: Job) -> bool:
    try:
        await queue.submit(job, job.id.encode())
    except QueueUnavailableError:
        return False
    return True


@pytest.mark.anyio
async def test_random_kills_lose_no_job_and_finish_none_twice() -> None:
    choice = random.Random(7)
    server = RedisServer("--appendfsync", "always")  # with everysec a busy disk delays what a kill then takes
    server.start()
    jobs = [make_job(choice.choice(["interactive", "batch"])) for _ in range(JOBS)]
    async with open_queue(server.url, "", POLICY) as queue:
        workers = [await start_worker(server.url, f"w{number}") for number in range(2)]

        async def feed() -> None:
            for job in jobs:
                await until(partial(is_accepted, queue, job))
                await asyncio.sleep(0.03)

        feeding = asyncio.create_task(feed())
        for number in range(KILLS):
            await asyncio.sleep(choice.uniform(0.05, 0.3))
            if number % 4 == 3:
                server.kill()
                server.start()
            else:
                victim = choice.randrange(len(workers))
                workers[victim].kill()
                await workers[victim].wait()
                # Half of them come back under their old name, as a pod of a stateful set does.
                name = f"w{victim}" if number % 2 else f"w{victim}-{number}"
                workers[victim] = await start_worker(server.url, name)
        await feeding

        async def all_done() -> bool:
            return all([(await queue.get(job.id)).state.is_terminal for job in jobs])

        await until(all_done, timeout_s=30)
        for worker in workers:
            worker.kill()
            await worker.wait()

        redis, keys = connect(server.url), Keys()
        for job in jobs:
            assert (await queue.get(job.id)).state is JobState.SUCCEEDED
            assert await queue.result(job.id) == job.id.encode() + b" restored"
            events = await call(redis, "XRANGE", keys.events(job.id), "-", "+")
            states = [json.loads(fields[b"data"])["state"] for _, fields in events]
            assert states.count("succeeded") == 1
            assert states[-1] == "succeeded"
        for priority in ("interactive", "batch"):
            assert (await call(redis, "XPENDING", keys.stream(priority), GROUP))["pending"] == 0
            assert await call(redis, "XLEN", keys.stream(priority)) == 0
        assert await call(redis, "KEYS", keys.image("*")) == []
        await redis.aclose()
    server.close()
