"""GET /jobs/{id}/events on a real port over a real Redis."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from app.api.routes import events as events_route
from app.api.sse import OPENING, PING
from app.jobs.connection import call, connect
from app.jobs.job import Job
from app.jobs.keys import Keys
from app.jobs.previews import Preview
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.api import api_settings, running_api
from tests.support.jobs import LONG_LEASE_MS, make_job, open_queue, until
from tests.support.redis_server import RedisServer
from tests.support.server import LiveApi, Received, all_events, events_of, live_api

pytestmark = pytest.mark.anyio


@pytest.fixture
async def live(redis_url: str, namespace: str) -> AsyncIterator[LiveApi]:
    async with live_api(api_settings(redis_url, namespace)) as api:
        yield api


async def finish(queue: JobQueue, steps: int = 3) -> Job:
    """A job from the first state to the last."""
    job = await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("ada", 1, 0)
    for step in range(1, steps + 1):
        await queue.progress(claim, step, steps)
    await queue.finish(claim, b"done", "image/png", caption="a dog", findings=(), steps_total=steps)
    return job


def words(events: list[Received]) -> list[str]:
    return [event.data["state"] if event.type == "state" else f"step {event.data['step']}" for event in events]


@contextlib.asynccontextmanager
async def streaming(
    live: LiveApi, job_id: str, **request: object
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[Received | str]]]:
    async with live.client.stream("GET", f"/jobs/{job_id}/events", **request) as answer:  # type: ignore[arg-type]
        yield answer, events_of(answer)


async def next_event(items: AsyncIterator[Received | str]) -> Received:
    while True:
        item = await asyncio.wait_for(anext(items), 20)
        if isinstance(item, Received):
            return item


async def test_events_come_as_they_happen_and_the_stream_ends_with_the_job(live: LiveApi) -> None:
    queue = live.services.queue
    job = await queue.submit(make_job(), b"photo")
    async with streaming(live, job.id) as (answer, items):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        assert "content-length" not in answer.headers
        assert await anext(items) == "retry: 2000"
        first = await next_event(items)
        assert (first.type, first.data["state"], first.data["attempt"]) == ("state", "queued", 0)
        assert first.data["at"].endswith("Z")
        (claim,) = await queue.claim("ada", 1, 0)
        assert (await next_event(items)).data["state"] == "running"
        await queue.progress(claim, 1, 2)
        step = await next_event(items)
        assert (step.type, step.data["step"], step.data["steps_total"]) == ("progress", 1, 2)
        assert "job" not in step.data
        await queue.finish(claim, b"done", "image/png", caption="a dog", findings=(), steps_total=2)
        last = await next_event(items)
        assert last.data["state"] == last.data["job"]["state"] == "succeeded"
        assert last.data["job"]["caption"] == "a dog"
        assert last.data["job"]["links"]["events"] == f"/jobs/{job.id}/events"
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(items), 20)
    ids = [event.id for event in await queue.journal.read(job.id)]
    assert ids == sorted(set(ids))
    assert [first.id, step.id, last.id] == [ids[0], ids[2], ids[3]]


async def test_stream_goes_on_after_any_event(live: LiveApi) -> None:
    job = await finish(live.services.queue)
    path = f"/jobs/{job.id}/events"
    whole = await all_events(live.client, path)
    assert words(whole) == ["queued", "running", "step 1", "step 2", "step 3", "succeeded"]
    for number, event in enumerate(whole[:-1]):
        rest = await all_events(live.client, path, headers={"Last-Event-ID": event.id})
        assert rest == whole[number + 1 :]
        assert await all_events(live.client, path, params={"last_event_id": event.id}) == rest
    # A browser that comes back repeats the address, so the header is the newer word.
    both = {"params": {"last_event_id": whole[0].id}, "headers": {"Last-Event-ID": whole[3].id}}
    assert await all_events(live.client, path, **both) == whole[4:]
    assert await all_events(live.client, path, headers={"Last-Event-ID": ""}) == whole
    over = await live.client.get(path, headers={"Last-Event-ID": whole[-1].id})
    assert (over.status_code, over.content) == (204, b"")  # a browser stops coming back


@pytest.mark.parametrize("where", ["header", "query"])
async def test_what_is_no_event_id_is_refused(redis_url: str, namespace: str, where: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        job = await services.queue.submit(make_job(), b"photo")
        more = {"headers": {"Last-Event-ID": "7"}} if where == "header" else {"params": {"last_event_id": f"{2**64}-1"}}
        answer = await client.get(f"/jobs/{job.id}/events", **more)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")
        assert answer.json()["errors"][0]["field"] == ("Last-Event-ID" if where == "header" else "last_event_id")
        unknown = await client.get(f"/jobs/{'0' * 32}/events")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "job_not_found")


async def test_previews_come_to_those_who_want_them(live: LiveApi) -> None:
    queue = live.services.queue
    job = await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("ada", 1, 0)
    async with streaming(live, job.id, params={"previews": "false"}) as (_, without):
        await next_event(without)
        assert not (await queue.progress(claim, 1, 4)).watched
        async with streaming(live, job.id) as (_, items):
            for _ in range(3):
                await next_event(items)
            assert (await queue.preview(claim, Preview(1, 4, 8, 6, "image/webp", b"small picture"))).watched
            shown = await next_event(items)
            assert shown.type == "preview"
            assert base64.b64decode(shown.data["image"]) == b"small picture"
            assert (shown.data["step"], shown.data["width"], shown.data["media_type"]) == (1, 8, "image/webp")
            await queue.canceled(claim)
            assert (await next_event(items)).data["state"] == "canceled"
        assert [(await next_event(without)).type for _ in range(3)] == ["state", "progress", "state"]


async def test_expired_and_failed_jobs_have_their_events(redis_url: str, namespace: str) -> None:
    settings = api_settings(redis_url, namespace, result_ttl_s=1)
    async with live_api(settings) as live:
        job = await finish(live.services.queue)

        async def is_expired() -> bool:
            return (await live.services.queue.get(job.id)).state.value == "expired"

        await until(is_expired)
        events = await all_events(live.client, f"/jobs/{job.id}/events")
        assert words(events)[-1] == "succeeded"
        assert events[-1].data["job"]["state"] == "expired"
        failed = await live.services.queue.submit(make_job(), b"photo")
        (claim,) = await live.services.queue.claim("ada", 1, 0)
        await live.services.queue.fail(claim, "restoration_failed", "no luck")
        events = await all_events(live.client, f"/jobs/{failed.id}/events")
        assert events[-1].data["job"]["error"] == {"code": "restoration_failed", "detail": "no luck"}


async def test_end_is_told_though_the_events_are_gone(
    live: LiveApi, redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_route, "LOOK_S", 0.05)
    redis = connect(redis_url)
    job = await finish(live.services.queue)
    await call(redis, "DEL", Keys(namespace).events(job.id))
    (event,) = await all_events(live.client, f"/jobs/{job.id}/events")
    assert (event.type, event.data["state"], event.id) == ("state", "succeeded", "")
    waiting = await live.services.queue.submit(make_job(), b"photo")
    async with streaming(live, waiting.id) as (_, items):
        await next_event(items)
        await call(redis, "DEL", Keys(namespace).job(waiting.id))  # the record's time is over
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(items), 20)
    await redis.aclose()


async def test_events_come_although_no_news_do(
    live: LiveApi, redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_route, "LOOK_S", 0.05)
    job = await live.services.queue.submit(make_job(), b"photo")
    with contextlib.ExitStack() as stack:
        stack.enter_context(monkeypatch.context()).setattr(live.services.queue.news, "_wake", lambda _job_id: None)
        async with streaming(live, job.id) as (_, items):
            await next_event(items)
            await live.services.queue.cancel(job.id)
            assert (await next_event(items)).data["state"] == "canceled"


async def test_silence_is_filled_with_pings(redis_url: str, namespace: str) -> None:
    async with live_api(api_settings(redis_url, namespace, event_ping_s=0.1)) as live:
        job = await live.services.queue.submit(make_job(), b"photo")
        async with streaming(live, job.id) as (_, items):
            await next_event(items)
            assert [await asyncio.wait_for(anext(items), 20) for _ in range(3)] == [": ping"] * 3
            await live.services.queue.cancel(job.id)
            while isinstance(item := await asyncio.wait_for(anext(items), 20), str):
                pass
            assert item.data["state"] == "canceled"


async def test_caller_who_leaves_frees_everything(live: LiveApi, redis_url: str, namespace: str) -> None:
    queue = live.services.queue
    job = await queue.submit(make_job(), b"photo")
    redis = connect(redis_url)

    async def is_free() -> bool:
        subscribed = (await call(redis, "PUBSUB", "NUMSUB", Keys(namespace).news))[1]
        return (live.services.streams.open, queue.news.followed, subscribed) == (0, 0, 0)

    async with contextlib.AsyncExitStack() as stack:
        followers = [(await stack.enter_async_context(streaming(live, job.id)))[1] for _ in range(10)]
        for items in followers:
            await next_event(items)
        assert (live.services.streams.open, queue.news.followed) == (10, 1)
    await until(is_free)
    assert not [task for task in asyncio.all_tasks() if "EventStream" in repr(task) or task.get_name() == "vlmir-news"]
    await redis.aclose()


async def test_number_of_open_streams_is_bounded(redis_url: str, namespace: str) -> None:
    async with live_api(api_settings(redis_url, namespace, max_event_streams=2)) as live:
        job = await live.services.queue.submit(make_job(), b"photo")
        path = f"/jobs/{job.id}/events"
        async with streaming(live, job.id) as (_, first):
            await next_event(first)
            async with streaming(live, job.id) as (_, second):
                await next_event(second)
                refused = await live.client.get(path)
                assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
                assert refused.headers["content-type"] == "application/problem+json"
                assert refused.json()["retryable"] is True
                assert int(refused.headers["retry-after"]) >= 1

            async def is_freed() -> bool:
                return live.services.streams.open == 1

            await until(is_freed)
            async with streaming(live, job.id) as (answer, _):
                assert answer.status_code == 200


async def test_caller_who_does_not_read_is_broken_off(live: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.streaming.SEND_TIMEOUT_S", 0.3)
    monkeypatch.setattr(events_route, "PING", b":" + bytes(2**20) + b"\n\n")
    job = await live.services.queue.submit(make_job(), b"photo")
    monkeypatch.setattr(events_route._Follower, "_is_silent", _never_silent)
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port, limit=1024)
    writer.write(f"GET /jobs/{job.id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")

    async def is_open() -> bool:
        return live.services.streams.open == 1

    async def is_closed() -> bool:
        return live.services.streams.open == 0

    await until(is_open)
    await until(is_closed)
    writer.close()


async def _never_silent(self: object, news: asyncio.Event) -> bool:
    await asyncio.sleep(0)
    return True  # sends without end


async def test_server_that_stops_ends_streams_at_once_and_in_order(redis_url: str, namespace: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        live = await stack.enter_async_context(live_api(api_settings(redis_url, namespace), graceful_stop_s=60))
        job = await live.services.queue.submit(make_job(), b"photo")
        _, items = await stack.enter_async_context(streaming(live, job.id))
        await next_event(items)
        live.server.should_exit = True
        with pytest.raises(StopAsyncIteration):  # a proper end, not a broken connection
            await asyncio.wait_for(anext(items), 20)


async def test_stream_outlives_an_absence_of_redis(namespace: str) -> None:
    server = RedisServer("--appendfsync", "always")
    server.start()
    try:
        policy = QueuePolicy(lease_ms=LONG_LEASE_MS)
        async with (
            live_api(api_settings(server.url, namespace, event_ping_s=0.2)) as live,
            open_queue(server.url, namespace, policy) as queue,
        ):
            job = await queue.submit(make_job(), b"photo")
            async with streaming(live, job.id) as (_, items):
                await next_event(items)
                server.kill()
                while await asyncio.wait_for(anext(items), 20) != ": ping":
                    pass
                away = await live.client.get(f"/jobs/{job.id}/events")
                assert (away.status_code, away.json()["code"]) == (503, "queue_unavailable")
                server.start()
                await queue.cancel(job.id)
                assert (await next_event(items)).data["state"] == "canceled"
    finally:
        server.close()


def test_fixed_parts_are_well_formed() -> None:
    assert OPENING == b"retry: 2000\n\n"
    assert PING == b": ping\n\n"
