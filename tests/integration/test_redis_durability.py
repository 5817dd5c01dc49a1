"""What is lost when Redis is killed, loses its power or loses its disk, and which settings prevent that."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import JobNotFoundError, QueueUnavailableError
from app.jobs.connection import call
from app.jobs.job import Job, JobState
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import LONG_LEASE_MS, make_job, open_queue, until
from tests.support.power import FrailRedis, build, compiler
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio

HASTY = QueuePolicy(lease_ms=100)
needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C compiler to build the note-taker with")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("synced"))


@pytest.fixture
def always(library: Path) -> Iterator[FrailRedis]:
    server = FrailRedis(library, "--appendfsync", "always")
    server.start()
    yield server
    server.close()


@pytest.fixture
def everysec(library: Path) -> Iterator[FrailRedis]:
    server = FrailRedis(library, "--appendfsync", "everysec")
    server.start()
    yield server
    server.close()


async def submit_until_killed(url: str, server: RedisServer, acknowledged: list[Job], kill_after: int) -> None:
    """Several callers at once; at a moment of its own the server goes away, in the middle of what they do."""

    async def caller(queue: JobQueue) -> None:
        while True:
            job = make_job()
            try:
                await queue.submit(job, job.id.encode() * 20)
            except QueueUnavailableError:
                return
            acknowledged.append(job)

    async with open_queue(url, "") as queue:
        calling = [asyncio.create_task(caller(queue)) for _ in range(4)]

        async def is_time() -> bool:
            return len(acknowledged) >= kill_after

        await until(is_time, 30)
        end = server.lose_power if isinstance(server, FrailRedis) else server.kill
        end()
        await asyncio.gather(*calling)


async def lost(queue: JobQueue, jobs: list[Job]) -> list[Job]:
    found = []
    for job in jobs:
        try:
            await queue.get(job.id)
        except JobNotFoundError:  # noqa: PERF203 - each for itself
            found.append(job)
    return found


async def finish_all(queue: JobQueue) -> set[str]:
    """Works off all that waits, and what workers held when the server went."""
    done: set[str] = set()

    async def is_empty() -> bool:
        for claim in await queue.claim("after", 20, 0):
            assert await queue.finish(claim, claim.image, "image/png", caption=None, findings=(), steps_total=1)
            done.add(claim.job_id)
        return not sum((await queue.depth()).values())

    await until(is_empty, 30)
    return done


@needs_compiler
async def test_appendfsync_always_loses_nothing_that_was_acknowledged(always: FrailRedis) -> None:
    acknowledged: list[Job] = []
    for kill_after in (7, 20, 40):  # in all, since the beginning
        await submit_until_killed(always.url, always, acknowledged, kill_after)
        always.start()
        async with open_queue(always.url, "") as queue:
            assert await lost(queue, acknowledged) == []
    async with open_queue(always.url, "") as queue:
        done = await finish_all(queue)
        assert {job.id for job in acknowledged} <= done
        for job in acknowledged:
            assert await queue.result(job.id) == job.id.encode() * 20


@needs_compiler
async def test_results_are_as_safe_as_jobs(always: FrailRedis) -> None:
    async with open_queue(always.url, "") as queue:
        job = await queue.submit(make_job(), b"photo")
        (claim,) = await queue.claim("w", 1, 0)
        assert await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)
        always.lose_power()
        always.start()
        assert (await queue.get(job.id)).state is JobState.SUCCEEDED
        assert await queue.result(job.id) == b"restored"


@needs_compiler
async def test_appendfsync_everysec_loses_the_last_second_when_the_power_fails(everysec: FrailRedis) -> None:
    async with open_queue(everysec.url, "") as queue:

        async def is_synced() -> bool:
            if (await call(queue._redis, "INFO", "persistence"))["aof_buffer_length"]:
                return False
            return all(everysec.synced_bytes(path.resolve()) == path.stat().st_size for path in everysec.logs())

        safe = [await queue.submit(make_job(), b"photo") for _ in range(5)]
        gone: list[Job] = []
        for _ in range(20):  # until no second ends between the last job and the failure
            await until(is_synced)
            fresh = [await queue.submit(make_job(), b"photo") for _ in range(3)]
            everysec.lose_power()
            everysec.start()
            assert await lost(queue, safe) == []
            gone = await lost(queue, fresh)
            safe += [job for job in fresh if job not in gone]
            if gone:
                break
        assert gone
        assert gone == fresh[-len(gone) :]  # the newest, and nothing out of the middle
        assert await finish_all(queue) == {job.id for job in safe}


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_server_loses_nothing_with_always(seed: int) -> None:
    """With everysec it may: while a flush to a busy disk lasts, Redis keeps what is new to itself."""
    server = RedisServer("--appendfsync", "always")
    server.start()
    try:
        acknowledged: list[Job] = []
        await submit_until_killed(server.url, server, acknowledged, random.Random(seed).randrange(5, 40))
        server.start()
        async with open_queue(server.url, "") as queue:
            assert await lost(queue, acknowledged) == []
    finally:
        server.close()


async def test_log_that_ends_anywhere_gives_a_state_that_goes_on() -> None:
    """A lost tail means an earlier moment, never half of a step: a script is in the log in full or not at all."""
    server = RedisServer("--appendfsync", "always")
    server.start()
    try:
        async with open_queue(server.url, "", HASTY) as queue:
            first = await queue.submit(make_job(), b"first")
            (log,) = sorted(server.dir.glob("appendonlydir/*.incr.aof")) or sorted(server.dir.glob("appendonly.aof"))
            begin = log.stat().st_size
            (claim,) = await queue.claim("w", 1, 0)
            await queue.progress(claim, 1, 2)
            assert await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)
            second = await queue.submit(make_job(), b"second")
        whole = log.read_bytes()
        seen = set()
        for cut in sorted({*random.Random(3).sample(range(begin, len(whole)), 6), begin, len(whole)}):
            server.kill()
            log.write_bytes(whole[:cut])
            server.start()
            async with open_queue(server.url, "", HASTY) as queue:
                state = (await queue.get(first.id)).state
                is_second_there = await lost(queue, [second]) == []
                seen.add((state, is_second_there))
                assert state in (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED)
                assert state is JobState.SUCCEEDED or not is_second_there

                async def is_done(queue: JobQueue = queue, needs_second: bool = is_second_there) -> bool:
                    await finish_all(queue)
                    jobs = [first, second] if needs_second else [first]
                    return all([(await queue.get(job.id)).state is JobState.SUCCEEDED for job in jobs])

                await until(is_done)
                assert await queue.result(first.id) in (b"first", b"restored")
        assert {(JobState.QUEUED, False), (JobState.SUCCEEDED, True)} <= seen
    finally:
        server.close()


async def test_lost_disk_loses_everything_and_the_service_goes_on_empty() -> None:
    server = RedisServer()
    server.start()
    try:
        async with open_queue(server.url, "", QueuePolicy(lease_ms=LONG_LEASE_MS)) as queue:
            job = await queue.submit(make_job(), b"photo")
            (claim,) = await queue.claim("w", 1, 0)
            waiting = await queue.submit(make_job(), b"photo")
            server.kill()
            shutil.rmtree(server.dir / "appendonlydir", ignore_errors=True)
            (server.dir / "appendonly.aof").unlink(missing_ok=True)
            server.start()
            assert await lost(queue, [job, waiting]) == [job, waiting]  # callers get job_not_found
            assert not (await queue.renew(claim)).owned  # its worker stops working on it
            assert not await queue.finish(claim, b"late", "image/png", caption=None, findings=(), steps_total=1)
            fresh = await queue.submit(make_job(), b"photo")
            (claim,) = await queue.claim("w", 1, 5000)
            assert claim.job_id == fresh.id
            assert await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)
    finally:
        server.close()
