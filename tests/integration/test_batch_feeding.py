"""How entries of batches become jobs: what the feeder does when hosts fail, the queue is full, or a process dies."""

from __future__ import annotations

import asyncio

import pytest

from app.api import feed_pace
from app.api import feeder as feeding
from app.api.deps import Services
from app.api.feed_pace import FeedPace
from app.errors import QueueFullError
from app.jobs import batches as batch_store
from app.jobs.batch import BatchEntry, new_batch_id
from app.jobs.connection import call
from app.jobs.job import RestoreOptions
from app.jobs.keys import Keys
from tests.support.api import api_settings, running_api, working
from tests.support.batches import (
    PHOTO,
    counted,
    fetcher,
    give,
    is_done,
    make_entry_job,
    stored_photos,
    taken_once,
    until_batch,
    url,
)
from tests.support.jobs import make_job, open_queue, until
from tests.support.photo_host import photo_host, response

pytestmark = pytest.mark.anyio


class Looks:
    """Counts how often the feeder has looked for entries."""

    def __init__(self, services: Services) -> None:
        self.count = 0
        take = services.queue.batches.take

        async def counted_take(*args: object, **more: object) -> object:
            found = await take(*args, **more)  # type: ignore[arg-type]
            self.count += 1
            return found

        services.queue.batches.take = counted_take  # type: ignore[method-assign, assignment]

    async def happened(self) -> bool:
        return self.count >= 2


async def test_a_host_that_fails_for_a_while_is_tried_again(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "_RETRY_S", 0.01)
    asked: dict[str, int] = {}

    async def stumble(path: str, writer: asyncio.StreamWriter) -> None:
        asked[path] = asked.get(path, 0) + 1
        is_well = path == "/recovers" and asked[path] == 3
        writer.write(response(PHOTO) if is_well else response(b"", "503 Busy"))

    async with photo_host(stumble) as host, running_api(api_settings(redis_url, namespace), fetcher()) as (client, _):
        body = {"entries": [url(host, "recovers"), url(host, "never")]}
        path = (await client.post("/restore/batch", json=body)).json()["links"]["self"]
        batch = await until_batch(client, path, lambda batch: batch["counts"]["waiting"] == 0)
        assert counted(batch) == {"queued": 1, "refused": 1}
        assert asked == {"/recovers": 3, "/never": 3}


async def test_a_full_queue_is_waited_for_and_nothing_is_fetched_meanwhile(redis_url: str, namespace: str) -> None:
    settings = api_settings(redis_url, namespace, max_queued=1)
    async with photo_host(give) as host, running_api(settings, fetcher()) as (client, services):
        assert (await client.post("/restore", content=PHOTO)).status_code == 202
        body = {"entries": [url(host, f"{n}") for n in range(4)]}
        path = (await client.post("/restore/batch", json=body)).json()["links"]["self"]
        looks = Looks(services)
        await until(looks.happened)
        assert counted((await client.get(path)).json()) == {"waiting": 4}
        assert host.paths == []
        async with working(services.queue):
            assert counted(await until_batch(client, path, is_done)) == {"succeeded": 4}
        assert len(host.paths) <= 8  # an entry may meet a queue that has filled up meanwhile


async def test_entries_whose_feeder_died_are_given_out_again_and_become_one_job(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_store, "LEASE_MS", 50)
    async with open_queue(redis_url, namespace) as queue:
        batch_id, _ = await queue.batches.create(
            new_batch_id(), "default", 1, [BatchEntry(RestoreOptions(), "https://a.example/")]
        )
        first = await taken_once(queue)
        second = await taken_once(queue)  # the first one was never heard of again
        assert (first.batch_id, first.index, first.tries) == (batch_id, 0, 1)
        assert (second.job_id, second.tries) == (first.job_id, 2)
        job = make_entry_job(first.job_id, batch_id)
        await queue.submit(job, PHOTO, entry=0)
        await queue.submit(job, PHOTO, entry=0)  # it was alive after all
        assert await queue.depth() == {"interactive": 0, "batch": 1}
        assert await queue.batches.take(10) == []
        assert [entry.state for entry in (await queue.batches.get(batch_id)).entries] == ["queued"]


async def test_an_entry_that_ends_every_feeder_is_given_up(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        queue = services.queue
        batch_id = new_batch_id()
        await queue._redis.hset(queue._keys.batch(batch_id), "tries:0", feeding.MOST_TRIES)
        await queue._redis.delete(queue._keys.batch(batch_id))
        await queue.batches.create(batch_id, "default", 1, [BatchEntry(RestoreOptions(), "https://a.example/")])
        await queue._redis.hset(queue._keys.batch(batch_id), "tries:0", feeding.MOST_TRIES)
        done = await until_batch(client, f"/batches/{batch_id}", is_done)
        assert done["errors"][0]["error"]["code"] == "internal_error"


async def test_an_entry_canceled_while_it_is_fetched_becomes_no_job(redis_url: str, namespace: str) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_path: str, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await go_on.wait()
        writer.write(response(PHOTO))

    async with (
        photo_host(slow) as host,
        running_api(api_settings(redis_url, namespace), fetcher()) as (client, services),
    ):
        path = (await client.post("/restore/batch", json={"entries": [url(host, "a")]})).json()["links"]["self"]
        await asked.wait()
        assert counted((await client.delete(path)).json()) == {"canceled": 1}
        go_on.set()
        deadline = asyncio.get_running_loop().time() + 10
        feeder = client._transport.app.state.feeder  # type: ignore[attr-defined]
        while feeder._tasks:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        batch = (await client.get(path)).json()
        assert counted(batch) == {"canceled": 1}
        assert await services.queue.depth() == {"interactive": 0, "batch": 0}
        assert await stored_photos(services, batch) == 0


async def test_a_process_that_stops_hands_its_entries_to_the_next(redis_url: str, namespace: str) -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def hang(_path: str, _writer: asyncio.StreamWriter) -> None:
        asked.set()
        await never.wait()

    settings = api_settings(redis_url, namespace)
    async with photo_host(hang) as host:
        async with running_api(settings, fetcher()) as (client, _):
            path = (await client.post("/restore/batch", json={"entries": [url(host, "a")]})).json()["links"]["self"]
            await asked.wait()
        host._answer = give
        async with running_api(settings, fetcher()) as (client, services), working(services.queue):
            assert counted(await until_batch(client, path, is_done)) == {"succeeded": 1}
        never.set()


async def test_single_jobs_of_priority_batch_do_not_keep_batches_waiting(redis_url: str, namespace: str) -> None:
    settings = api_settings(redis_url, namespace, batch_ahead=2)
    async with photo_host(give) as host, running_api(settings, fetcher()) as (client, services):
        for _ in range(5):
            await services.queue.submit(make_job("batch"), PHOTO)
        body = {"entries": [url(host, f"{n}") for n in range(6)]}
        path = (await client.post("/restore/batch", json=body)).json()["links"]["self"]
        batch = await until_batch(client, path, lambda batch: batch["counts"]["queued"] >= 2)
        assert counted(batch) == {"waiting": 4, "queued": 2}
        claims = await services.queue.claim("w", 6, 0)  # five of the single ones and the first of the batch
        batch = await until_batch(client, path, lambda batch: batch["counts"]["waiting"] < 4)
        assert counted(batch) == {"waiting": 3, "queued": 2, "running": 1}
        assert len(claims) == 6


async def test_memory_for_fetches_that_is_short_lets_all_through_one_after_the_other(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "_NO_ROOM_S", 0.01)
    crowded: list[None] = []
    was_crowded = FeedPace.was_crowded
    monkeypatch.setattr(FeedPace, "was_crowded", lambda pace: crowded.append(was_crowded(pace)))
    settings = api_settings(redis_url, namespace, upload_memory_bytes=4 * len(PHOTO) + 4)  # a quarter is the feeder's
    async with photo_host(give) as host, running_api(settings, fetcher()) as (client, _):
        body = {"entries": [url(host, f"{n}") for n in range(12)]}
        path = (await client.post("/restore/batch", json=body)).json()["links"]["self"]
        batch = await until_batch(client, path, lambda batch: batch["counts"]["waiting"] == 0)
        assert counted(batch) == {"queued": 12}
        assert crowded


async def test_nothing_is_fetched_for_a_while_after_a_photo_found_no_room(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "_NO_ROOM_S", 0.01)
    monkeypatch.setattr(feed_pace, "_FIRST_PAUSE_S", 3600.0)  # longer than this test
    settings = api_settings(redis_url, namespace, fetches_at_once=1)
    async with photo_host(give) as host, running_api(settings, fetcher()) as (client, services):

        async def full(*_args: object, **_more: object) -> None:
            raise QueueFullError("the queue's memory is full")

        monkeypatch.setattr(services.queue, "submit", full)
        body = {"entries": [url(host, "1"), url(host, "2")]}
        path = (await client.post("/restore/batch", json=body)).json()["links"]["self"]
        feeder = client._transport.app.state.feeder  # type: ignore[attr-defined]
        await until(lambda: _is_true(not feeder._pace.may_fetch))
        looks = Looks(services)
        await until(looks.happened)
        assert host.paths == ["/1"]
        assert counted((await client.get(path)).json()) == {"waiting": 2}


async def _is_true(value: bool) -> bool:
    return value


async def test_an_entry_whose_stored_photo_is_gone_is_refused_at_once(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, batch_ahead=1)) as (client, services):
        files = [("image", (f"{n}.png", PHOTO)) for n in range(2)]
        path = (await client.post("/restore/batch", files=files)).json()["links"]["self"]
        batch = await until_batch(client, path, lambda batch: batch["counts"]["queued"] == 1)
        queue = services.queue
        (waiting,) = [item for item in (await queue.batches.get(batch["id"])).entries if item.state == "waiting"]
        await queue.batches.discard(batch["id"], [waiting.index])
        (claim,) = await queue.claim("w", 1, 1000)
        await queue.canceled(claim)
        done = await until_batch(client, path, is_done)
        assert [item["error"]["code"] for item in done["errors"]] == ["input_lost"]


async def test_a_lease_is_renewed_while_an_entry_is_worked_on(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_queue(redis_url, namespace) as queue:
        entry = BatchEntry(RestoreOptions(), "https://a.example/")
        batch_id, _ = await queue.batches.create(new_batch_id(), "default", 1, [entry])
        (taken,) = await queue.batches.take(1)
        member = f"{batch_id}:0"

        async def due_ms() -> float:
            return float(await call(queue._redis, "ZSCORE", Keys(namespace).feed, member))

        first_ms = await due_ms()

        async def is_later() -> bool:
            return await due_ms() > first_ms

        monkeypatch.setattr(batch_store, "LEASE_MS", 200)  # how often it is renewed
        async with queue.batches.working(taken):
            monkeypatch.setattr(batch_store, "LEASE_MS", 120_000)  # for how long
            await until(is_later)
        assert await call(queue._redis, "HGET", Keys(namespace).batch(batch_id), "tries:0") == b"1"
