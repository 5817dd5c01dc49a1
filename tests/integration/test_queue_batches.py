"""The store of batches on a real Redis: what is kept of photos when, room for them, and entries that cannot be read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import InputLostError, QueueFullError, QueueUnavailableError
from app.jobs.batch import BatchEntry, entry_job_id, new_batch_id
from app.jobs.codec import encode_job
from app.jobs.connection import call
from app.jobs.embedded import EmbeddedRedis
from app.jobs.idempotency import KeyUse
from app.jobs.job import RestoreOptions
from app.jobs.keys import Keys
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.batches import make_entry_job
from tests.support.jobs import LONG_LEASE_MS, make_job, open_queue
from tests.support.object_store import BreakableStore

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
DAY_S = 24 * 3600
STORED = BatchEntry(RestoreOptions())
AT_URL = BatchEntry(RestoreOptions(), "https://a.example/")
PHOTO = os.urandom(MIB // 2)


async def given(*photos: bytes) -> AsyncIterator[bytes]:
    for photo in photos:
        yield photo


async def store(queue: JobQueue, *photos: bytes, key: KeyUse | None = None) -> tuple[str, bool]:
    entries, total = [STORED for _ in photos], sum(len(photo) for photo in photos)
    return await queue.batches.create_stored(new_batch_id(), "default", 1, entries, given(*photos), total, key)


async def photos_of(queue: JobQueue) -> list[bytes]:
    return list(await call(queue._redis, "KEYS", queue._keys.image("*")))


async def ttl_s(queue: JobQueue, job_id: str) -> int:
    return int(await call(queue._redis, "TTL", queue._keys.image(job_id)))


@pytest.fixture
async def queue(redis_url: str, namespace: str) -> AsyncIterator[JobQueue]:
    async with open_queue(redis_url, namespace) as opened:
        yield opened


@pytest.fixture
def small_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path, max_memory_bytes=16 * MIB)
    server.start()
    yield server
    server.stop()


async def test_photos_that_wait_leave_memory_to_others_and_become_jobs_without_more(small_redis: EmbeddedRedis) -> None:
    async with open_queue(small_redis.url, "", QueuePolicy(lease_ms=LONG_LEASE_MS)) as queue:
        batch_id, _ = await store(queue, *[PHOTO] * 8)
        with pytest.raises(QueueFullError, match="memory"):
            await store(queue, *[PHOTO] * 8)
        assert len(await photos_of(queue)) == 8  # nothing was stored of the second one
        await queue.submit(make_job(), PHOTO)  # somebody waits for this one
        with pytest.raises(QueueFullError, match="memory"):
            await asyncio.gather(*(queue.submit(make_job(), PHOTO) for _ in range(16)))
        with pytest.raises(QueueFullError, match="memory"):
            await queue.batches.create(new_batch_id(), "default", 1, [AT_URL])
        await call(queue._redis, "CONFIG", "SET", "maxmemory", str(2 * MIB))  # below what is used
        taken = await queue.batches.take(3)
        assert [item.index for item in taken] == [0, 1, 2]
        await queue.batches.defer(taken[2], 0, counts=False)
        await call(queue._redis, "CONFIG", "SET", "maxmemory", str(16 * MIB))
        for item in taken:
            await queue.submit(make_entry_job(item.job_id, batch_id), None, entry=item.index)
        assert (await queue.depth())["batch"] == 3


async def test_photos_in_an_object_store_need_no_room_in_redis(small_redis: EmbeddedRedis) -> None:
    objects = BreakableStore()
    async with open_queue(small_redis.url, "", QueuePolicy(lease_ms=LONG_LEASE_MS), objects=objects) as queue:
        batch_id, _ = await store(queue, *[PHOTO] * 20)
        assert len(objects.kept()) == 20
        (taken,) = await queue.batches.take(1)
        await queue.submit(make_entry_job(taken.job_id, batch_id), None, entry=taken.index)
        (claim,) = await queue.claim("w", 1, 0)
        assert claim.image == PHOTO


async def test_while_memory_is_short_photos_at_urls_wait_and_stored_ones_do_not(small_redis: EmbeddedRedis) -> None:
    async with open_queue(small_redis.url, "", QueuePolicy(lease_ms=LONG_LEASE_MS)) as queue:
        await queue.batches.create(new_batch_id(), "default", 1, [AT_URL] * 2)
        stored_id, _ = await store(queue, PHOTO, PHOTO)
        await call(queue._redis, "CONFIG", "SET", "maxmemory", str(3 * MIB))
        assert [item.batch_id for item in await queue.batches.take(10)] == [stored_id] * 2


async def test_entries_are_taken_oldest_first_as_far_as_there_is_room(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(lease_ms=LONG_LEASE_MS, max_queued=4)
    async with open_queue(redis_url, namespace, policy) as queue:
        first_id, _ = await queue.batches.create(new_batch_id(), "default", 1, [AT_URL])
        second_id, _ = await store(queue, b"1", b"2")
        third_id, _ = await queue.batches.create(new_batch_id(), "default", 1, [AT_URL] * 2)
        for feed, member, time_ms in (
            ("", f"{first_id}:0", 1), (":stored", f"{second_id}:0", 2), (":stored", f"{second_id}:1", 3),
            ("", f"{third_id}:0", 4), ("", f"{third_id}:1", 5),
        ):  # fmt: skip
            await call(queue._redis, "ZADD", Keys(namespace).feed + feed, "XX", time_ms, member)
        assert await queue.batches.take(10, ahead=0) == []
        (only_stored,) = await queue.batches.take(1, may_fetch=False)
        assert only_stored.batch_id == second_id
        await queue.batches.defer(only_stored, 3600, counts=False)
        await queue.submit(make_job(), b"photo")
        taken = await queue.batches.take(10)  # 3 more find room
        assert [item.batch_id for item in taken] == [first_id, second_id, third_id]
        for _ in range(3):
            await queue.submit(make_job(), b"photo")
        assert await queue.batches.take(10) == []


async def test_a_full_queue_leaves_the_stored_photo_of_an_entry_alone(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=LONG_LEASE_MS, max_queued=1)) as queue:
        waiting = await queue.submit(make_job(), b"photo")
        batch_id, _ = await store(queue, b"stored")
        job = make_entry_job(entry_job_id(batch_id, 0), batch_id)
        with pytest.raises(QueueFullError):
            await queue.submit(job, None, entry=0)
        assert await queue._blobs.get(queue._keys.image(job.id)) == b"stored"
        assert await ttl_s(queue, job.id) > 6 * DAY_S
        await queue.cancel(waiting.id)
        await queue.submit(job, None, entry=0)
        assert await ttl_s(queue, job.id) == -1
        (claim,) = await queue.claim("w", 1, 0)
        assert claim.image == b"stored"


async def test_an_entry_whose_stored_photo_is_gone_is_no_job(queue: JobQueue) -> None:
    batch_id, _ = await store(queue, b"stored")
    await queue.batches.discard(batch_id, [0])
    with pytest.raises(InputLostError):
        await queue.submit(make_entry_job(entry_job_id(batch_id, 0), batch_id), None, entry=0)
    assert await queue.depth() == {"interactive": 0, "batch": 0}


async def test_a_job_sent_again_keeps_its_photo_as_long_as_it_needs_it_and_no_longer(queue: JobQueue) -> None:
    job = await queue.submit(make_job(), b"photo")
    await queue.submit(job, b"another")
    assert await queue._blobs.get(queue._keys.image(job.id)) == b"photo"
    assert await ttl_s(queue, job.id) == -1
    await late_submit(queue, job)
    assert await ttl_s(queue, job.id) == -1
    (claim,) = await queue.claim("w", 1, 0)
    await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)
    await queue.submit(job, b"photo")
    await late_submit(queue, job)
    assert await photos_of(queue) == []


async def late_submit(queue: JobQueue, job: Any) -> None:
    """What a process does that looked for the job before another one submitted it."""
    await queue._put(job.id, b"photo", None)
    word, _, _ = await queue._scripts.submit(job.id, job.priority, job.created_ms, encode_job(job))
    assert word == "known"


async def test_so_many_entries_wait_and_no_more(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(max_waiting_entries=3)) as queue:
        await queue.batches.create(new_batch_id(), "default", 1, [AT_URL] * 2)
        with pytest.raises(QueueFullError, match="limit is 3"):
            await queue.batches.create(new_batch_id(), "default", 1, [AT_URL] * 2)
        with pytest.raises(QueueFullError, match="limit is 3"):
            await store(queue, b"1", b"2")
        assert await photos_of(queue) == []
        batch_id, _ = await store(queue, b"1")
        await queue.batches.cancel(batch_id)
        await store(queue, b"1")


async def test_photos_are_kept_for_long_only_once_their_batch_is_there(queue: JobQueue) -> None:
    batch_id, times = new_batch_id(), []

    async def photos() -> AsyncIterator[bytes]:
        yield b"first"
        times.append(await ttl_s(queue, entry_job_id(batch_id, 0)))
        yield b"second"

    await queue.batches.create_stored(batch_id, "default", 1, [STORED] * 2, photos(), 11)
    assert 0 < times[0] <= 600
    assert [await ttl_s(queue, entry_job_id(batch_id, index)) > 6 * DAY_S for index in range(2)] == [True, True]


async def test_nothing_stays_of_a_batch_that_was_not_accepted(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"first"
        raise RuntimeError("the form is broken")

    with pytest.raises(RuntimeError):
        await queue.batches.create_stored(new_batch_id(), "default", 1, [STORED] * 2, broken(), 11)
    assert await photos_of(queue) == []

    key = KeyUse.of("default", "k", "asked")
    first = await store(queue, b"photo", key=key)
    again = await store(queue, b"photo", key=KeyUse(key.name, key.fingerprint))
    assert (first[1], again) == (True, (first[0], False))
    assert len(await photos_of(queue)) == 1

    run = queue._scripts.run

    async def lost_answer(name: str, *args: str | int | bytes) -> Any:
        found = await run(name, *args)
        if name == "batch_create":
            raise QueueUnavailableError("no answer in time")
        return found

    monkeypatch.setattr(queue._scripts, "run", lost_answer)
    with pytest.raises(QueueUnavailableError):
        await store(queue, b"photo")
    assert len(await photos_of(queue)) == 2  # the batch may be there, as it is here, and then needs its photo


async def test_entries_of_another_release_wait_for_it_and_harm_no_neighbour(
    queue: JobQueue, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    batch_id, _ = await queue.batches.create(new_batch_id(), "default", 1, [AT_URL] * 3)
    record = Keys(namespace).batch(batch_id)
    newer = '{"options":{"newer":1},"image_url":"https://a.example/"}'
    await call(queue._redis, "HSET", f"{record}:entries", "1", newer)
    assert [item.index for item in await queue.batches.take(10)] == [0, 2]
    assert "newer" in caplog.text
    assert await call(queue._redis, "HGET", record, "tries:1") == b"0"
    assert [item.state for item in (await queue.batches.get(batch_id)).entries] == ["waiting"] * 3
    assert await call(queue._redis, "ZSCORE", Keys(namespace).feed, f"{batch_id}:1") is not None


async def test_a_batch_is_kept_as_long_as_its_key(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(idempotency_ttl_s=30 * DAY_S)) as queue:
        batch_id, _ = await queue.batches.create(new_batch_id(), "default", 1, [AT_URL])
        assert int(await call(queue._redis, "TTL", Keys(namespace).batch(batch_id))) > 29 * DAY_S
