"""Events of jobs read from a real Redis, the news that wake followers, and results piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.errors import ResultGoneError
from app.jobs import results
from app.jobs.connection import call, connect
from app.jobs.journal import MOST_AT_ONCE, is_event_id
from app.jobs.keys import Keys
from app.jobs.previews import Preview
from app.jobs.queue import JobQueue
from tests.support.jobs import make_job, open_queue, until
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def queue(redis_url: str, namespace: str) -> AsyncIterator[JobQueue]:
    async with open_queue(redis_url, namespace) as opened:
        yield opened


async def test_events_are_read_from_any_of_them_on(queue: JobQueue) -> None:
    job = await queue.submit(make_job(), b"photo")
    await queue.listen(job.id)
    (claim,) = await queue.claim("ada", 1, 0)
    await queue.progress(claim, 1, 2)
    await queue.preview(claim, Preview(1, 2, 8, 6, "image/webp", b"small picture"))
    events = await queue.journal.read(job.id)
    assert [event.type for event in events] == ["state", "state", "progress", "preview"]
    assert [event.data.get("state") for event in events] == ["queued", "running", None, None]
    assert [event.blob for event in events] == [None, None, None, b"small picture"]
    assert not any(event.is_terminal for event in events)
    for number, event in enumerate(events):
        assert is_event_id(event.id)
        assert await queue.journal.read(job.id, event.id) == events[number + 1 :]
    await queue.finish(claim, b"done", "image/png", caption=None, findings=(), steps_total=2)
    (end,) = await queue.journal.read(job.id, events[-1].id)
    assert end.is_terminal
    assert await queue.journal.read("0" * 32) == []


async def test_many_events_come_in_parts(queue: JobQueue) -> None:
    job = await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("ada", 1, 0)
    for step in range(1, MOST_AT_ONCE + 50):
        await queue.progress(claim, step, 1000)
    seen = await queue.journal.read(job.id)
    assert len(seen) == MOST_AT_ONCE
    seen += await queue.journal.read(job.id, seen[-1].id)
    assert [event.data["step"] for event in seen if event.type == "progress"] == list(range(1, MOST_AT_ONCE + 50))


@pytest.mark.parametrize("text", ["", "x", "1", "1-", "-1", "1-2-3", "1 -2", f"{2**64}-0", f"1-{2**64}", "٣-1"])
async def test_what_is_no_event_id_is_refused(queue: JobQueue, text: str) -> None:
    assert not is_event_id(text)
    with pytest.raises(ValueError, match="two numbers with a dash"):
        await queue.journal.read("0" * 32, text)


async def test_news_wake_the_followers_of_the_job_and_nobody_else(queue: JobQueue) -> None:
    jobs = [await queue.submit(make_job(), b"photo") for _ in range(2)]
    with queue.news.follow(jobs[0].id) as flag, queue.news.follow(jobs[1].id) as other:
        await asyncio.wait_for(flag.wait(), 10)  # the reader listens
        flag.clear()
        other.clear()
        await queue.cancel(jobs[0].id)
        await asyncio.wait_for(flag.wait(), 10)
        assert not other.is_set()
    assert queue.news.followed == 0


async def test_any_number_of_followers_takes_one_connection_and_none_afterwards(
    queue: JobQueue, redis_url: str, namespace: str
) -> None:
    redis = connect(redis_url)
    channel = Keys(namespace).news

    async def subscribers() -> int:
        return int((await call(redis, "PUBSUB", "NUMSUB", channel))[1])

    async def follow(job_id: str, done: asyncio.Event) -> None:
        with queue.news.follow(job_id):
            await done.wait()

    done = asyncio.Event()
    followers = [asyncio.create_task(follow(f"{number % 50:032x}", done)) for number in range(200)]

    async def is_heard() -> bool:
        return await subscribers() == 1

    async def is_quiet() -> bool:
        return await subscribers() == 0

    await until(is_heard)
    assert queue.news.followed == 50
    done.set()
    await asyncio.gather(*followers)
    await until(is_quiet)
    await redis.aclose()


async def test_followers_are_woken_again_after_a_restart_of_redis(namespace: str) -> None:
    server = RedisServer("--appendfsync", "always")
    server.start()
    try:
        async with open_queue(server.url, namespace) as queue:
            job = await queue.submit(make_job(), b"photo")
            with queue.news.follow(job.id) as flag:
                await asyncio.wait_for(flag.wait(), 10)
                flag.clear()
                server.kill()
                server.start()
                await asyncio.wait_for(flag.wait(), 20)  # what was missed meanwhile can be looked up
                flag.clear()
                await queue.cancel(job.id)
                await asyncio.wait_for(flag.wait(), 20)
    finally:
        server.close()


async def test_scripts_work_where_the_channel_is_forbidden(namespace: str) -> None:
    server = RedisServer()
    server.start()
    admin = connect(server.url)
    try:
        await call(admin, "ACL", "SETUSER", "default", "resetchannels")
        async with open_queue(server.url, namespace) as queue:
            job = await queue.submit(make_job(), b"photo")
            with queue.news.follow(job.id):
                await queue.cancel(job.id)
                await asyncio.sleep(0)
            assert (await queue.journal.read(job.id))[-1].is_terminal
    finally:
        await admin.aclose()
        server.close()


async def test_result_is_read_in_pieces(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "CHUNK_BYTES", 10)
    data = bytes(range(95))
    job = await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("ada", 1, 0)
    await queue.finish(claim, data, "image/png", caption=None, findings=(), steps_total=1)
    done = await queue.get(job.id)
    assert await queue.results.size(done) == 95
    for start, stop in ((0, 95), (0, 1), (10, 20), (94, 95), (3, 57), (5, 5)):
        pieces = [piece async for piece in queue.results.read(done, start, stop)]
        assert b"".join(pieces) == data[start:stop]
        assert all(len(piece) <= 10 for piece in pieces)


async def test_result_that_goes_while_it_is_read_is_no_whole(
    queue: JobQueue, redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "CHUNK_BYTES", 10)
    job = await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("ada", 1, 0)
    await queue.finish(claim, bytes(50), "image/png", caption=None, findings=(), steps_total=1)
    done = await queue.get(job.id)
    redis = connect(redis_url)
    reading = queue.results.read(done, 0, 50)
    assert await anext(reading) == bytes(10)
    await call(redis, "DEL", Keys(namespace).result(job.id, 1))
    with pytest.raises(ResultGoneError):
        await anext(reading)
    with pytest.raises(ResultGoneError):
        await queue.results.size(done)
    await redis.aclose()
