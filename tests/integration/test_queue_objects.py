"""Photos in an object store: read where they are, never missed by a job, deleted in the end, whoever dies when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from app.errors import QueueUnavailableError, ResultGoneError
from app.jobs import objects, retention
from app.jobs.batches import BatchEntry, entry_job_id, new_batch_id
from app.jobs.connection import call
from app.jobs.job import JobState, RestoreOptions
from app.jobs.keys import Keys
from app.jobs.queue import Claim, JobQueue, QueuePolicy
from app.storage.errors import StorageUnavailableError
from tests.support.jobs import LONG_LEASE_MS, make_job, open_queue, until
from tests.support.object_store import BreakableStore

pytestmark = pytest.mark.anyio

ENTRY = BatchEntry(RestoreOptions())


@pytest.fixture
def store() -> BreakableStore:
    return BreakableStore()


@pytest.fixture
async def queue(redis_url: str, namespace: str, store: BreakableStore) -> AsyncIterator[JobQueue]:
    async with open_queue(redis_url, namespace, objects=store) as opened:
        yield opened


async def finish(queue: JobQueue, claim: Claim, image: bytes = b"restored") -> bool:
    return await queue.finish(claim, image, "image/png", caption=None, findings=(), steps_total=1)


async def read(queue: JobQueue, job_id: str, start: int, stop: int) -> bytes:
    job = await queue.get(job_id)
    return b"".join([part async for part in queue.results.read(job, start, stop)])


async def let_time_pass(redis: Redis, keys: Keys, *members: str) -> None:
    """Makes photos due now, which are noted for later."""
    for member in members or [name.decode() for name in await call(redis, "ZRANGE", keys.objects, 0, -1)]:
        assert await call(redis, "ZADD", keys.objects, "XX", "CH", 1, member) == 1, member


async def noted(redis: Redis, keys: Keys) -> dict[str, float]:
    """All notes, with the seconds that are left."""
    seconds, micros = await call(redis, "TIME")
    rows = await call(redis, "ZRANGE", keys.objects, 0, -1, "WITHSCORES")
    now_s = int(seconds) + int(micros) / 1e6
    flat = [part for row in rows for part in row] if rows and isinstance(rows[0], (list, tuple)) else rows
    return {name.decode(): float(due) / 1000 - now_s for name, due in zip(flat[::2], flat[1::2], strict=True)}


async def test_photos_go_through_the_store_and_redis_has_none(
    queue: JobQueue, store: BreakableStore, redis: Redis, keys: Keys
) -> None:
    job = make_job()
    await queue.submit(job, b"photo", b"mask")
    assert store.kept() == [f"image/{job.id}", f"mask/{job.id}"]
    assert await call(redis, "EXISTS", keys.image(job.id), keys.mask(job.id)) == 0
    (claim,) = await queue.claim("w", 1, 0)
    assert (claim.image, claim.mask) == (b"photo", b"mask")
    image = bytes(range(256)) * 20
    assert await finish(queue, claim, image)
    assert f"result/{job.id}-1" in store.kept()
    assert await call(redis, "EXISTS", keys.result(job.id, 1)) == 0
    assert await queue.result(job.id) == image
    done = await queue.get(job.id)
    assert await queue.results.size(done) == len(image)
    assert await read(queue, job.id, 100, 3000) == image[100:3000]


async def test_every_byte_has_its_time(queue: JobQueue, store: BreakableStore, redis: Redis, keys: Keys) -> None:
    jobs = {name: make_job() for name in ("succeeded", "failed", "canceled")}
    for name, job in jobs.items():
        await queue.submit(job, b"photo", b"mask")
        if name == "canceled":
            await queue.cancel(job.id)
    left = await noted(redis, keys)
    for name, job in jobs.items():
        for kind in ("image", "mask"):  # for as long as the job needs it, then soon
            assert (left[f"{kind}:{job.id}"] < 11) is (name == "canceled"), name
    one, two = await queue.claim("w", 9, 0)
    await finish(queue, one)
    await queue.fail(two, "restoration_failed", "no luck")
    left = await noted(redis, keys)
    result = left.pop(f"result:{jobs['succeeded'].id}:1")
    assert queue.policy.result_ttl_s - 60 < result <= queue.policy.result_ttl_s
    assert len(left) == 6
    assert max(left.values()) < 11

    await let_time_pass(redis, keys, *left)
    await queue.retention.sweep()
    assert store.kept() == [f"result/{jobs['succeeded'].id}-1"]
    assert await queue.result(jobs["succeeded"].id) == b"restored"
    await let_time_pass(redis, keys)
    await queue.retention.sweep()
    assert store.kept() == []
    assert await noted(redis, keys) == {}
    with pytest.raises(ResultGoneError):
        await queue.result(jobs["succeeded"].id)


async def test_the_sweeper_takes_nothing_that_a_job_may_need(
    queue: JobQueue, store: BreakableStore, redis: Redis, keys: Keys
) -> None:
    waiting, running = make_job(), make_job()
    await queue.submit(running, b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    await queue.submit(waiting, b"photo")
    # A result that is stored and not committed yet, however long that takes.
    await queue._blobs.put(keys.result(running.id, claim.fence), b"restored", 1)
    await let_time_pass(redis, keys)
    assert await queue.retention.sweep() == 0
    assert store.kept() == [
        *sorted(f"image/{job.id}" for job in (waiting, running)),
        f"result/{running.id}-{claim.fence}",
    ]
    assert await finish(queue, claim)
    assert await queue.result(running.id) == b"restored"


async def test_a_result_of_a_lost_attempt_is_swept(
    redis_url: str, namespace: str, store: BreakableStore, redis: Redis, keys: Keys
) -> None:
    async with open_queue(redis_url, namespace, objects=store) as queue:
        job = make_job()
        await queue.submit(job, b"photo")
        (claim,) = await queue.claim("w", 1, 0)
        # This worker dies between storing and committing.
        await queue._blobs.put(keys.result(job.id, claim.fence), b"half a life", 1)
        await queue.retire("w")
        (again,) = await queue.claim("x", 1, 0)
        assert await finish(queue, again)
        await let_time_pass(redis, keys, f"result:{job.id}:1")
    async with open_queue(redis_url, namespace, objects=store) as later:  # notes outlive whoever wrote them
        await later.retention.sweep()
        assert f"result/{job.id}-1" not in store.kept()
        assert await later.result(job.id) == b"restored"


async def test_a_job_does_not_succeed_with_a_result_that_is_gone(queue: JobQueue, redis: Redis, keys: Keys) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    put = queue._blobs.put

    async def put_and_lose(name: str, data: bytes, ttl_s: int, media_type: str | None = None) -> None:
        await put(name, data, ttl_s, media_type)
        await call(redis, "ZREM", keys.objects, f"result:{job.id}:1")

    queue._blobs.put = put_and_lose  # type: ignore[method-assign]
    assert not await finish(queue, claim)
    assert (await queue.get(job.id)).state is JobState.RUNNING
    queue._blobs.put = put  # type: ignore[method-assign]
    assert await finish(queue, claim)
    assert await queue.result(job.id) == b"restored"


async def test_a_refused_result_leaves_nothing(
    queue: JobQueue, store: BreakableStore, redis: Redis, keys: Keys
) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    await queue.cancel(job.id)
    assert not await finish(queue, claim)
    assert store.kept() == [f"image/{job.id}"]
    assert list(await noted(redis, keys)) == [f"image:{job.id}"]


async def test_nothing_is_accepted_or_finished_while_the_store_is_away(
    queue: JobQueue, store: BreakableStore, redis: Redis, keys: Keys
) -> None:
    job, other = make_job(), make_job()
    await queue.submit(job, b"photo")
    with store.broken():
        with pytest.raises(StorageUnavailableError):
            await queue.submit(other, b"photo")
        with pytest.raises(QueueUnavailableError):
            await queue.claim("w", 1, 0)
    (claim,) = await queue.claim("w", 1, 0)
    assert claim.image == b"photo"
    with store.broken(), pytest.raises(StorageUnavailableError):
        await finish(queue, claim)
    assert (await queue.get(job.id)).state is JobState.RUNNING
    assert await finish(queue, claim)
    with store.broken(), pytest.raises(StorageUnavailableError):
        await queue.result(job.id)
    # What the refused submission may have left is noted.
    assert f"image:{other.id}" in await noted(redis, keys)
    assert await queue.submit(other, b"photo") == other


async def test_photos_of_a_job_are_deleted_on_request(
    queue: JobQueue, store: BreakableStore, redis: Redis, keys: Keys
) -> None:
    job = make_job()
    await queue.submit(job, b"photo", b"mask")
    (claim,) = await queue.claim("w", 1, 0)
    await finish(queue, claim)
    done = await queue.get(job.id)
    assert await queue.retention.delete(done)
    assert store.kept() == []
    assert await noted(redis, keys) == {}
    with pytest.raises(ResultGoneError):
        await queue.result(job.id)


async def test_a_deletion_that_the_store_does_not_hear_is_made_up_for(
    queue: JobQueue, store: BreakableStore, redis: Redis, keys: Keys
) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    await finish(queue, claim)
    done = await queue.get(job.id)
    with store.broken():
        assert not await queue.retention.delete(done)
        with pytest.raises(StorageUnavailableError, match="past their time"):
            await queue.retention.sweep()
    assert len(store.kept()) == 2
    await let_time_pass(redis, keys)  # the time for which that sweep had them
    assert await queue.retention.sweep() == 2
    assert store.kept() == []


async def test_deleting_in_redis_works_likewise(redis_url: str, namespace: str, redis: Redis, keys: Keys) -> None:
    async with open_queue(redis_url, namespace) as queue:
        job = make_job()
        await queue.submit(job, b"photo")
        (claim,) = await queue.claim("w", 1, 0)
        await finish(queue, claim)
        assert await call(redis, "EXISTS", keys.result(job.id, 1)) == 1
        assert await queue.retention.delete(await queue.get(job.id))
        assert await call(redis, "EXISTS", keys.result(job.id, 1)) == 0
        assert await queue.retention.sweep() == 0


async def test_what_was_stored_in_redis_before_is_still_there(
    redis_url: str, namespace: str, store: BreakableStore
) -> None:
    async with open_queue(redis_url, namespace) as before:
        one, two = make_job(), make_job()
        await before.submit(one, b"photo")
        (claim,) = await before.claim("w", 1, 0)
        await finish(before, claim, b"restored before")
        await before.submit(two, b"photo of before")
    async with open_queue(redis_url, namespace, objects=store) as queue:
        assert await queue.result(one.id) == b"restored before"
        assert await read(queue, one.id, 9, 15) == b"before"
        (claim,) = await queue.claim("w", 1, 0)
        assert claim.image == b"photo of before"
        assert await finish(queue, claim)
        assert store.kept() == [f"result/{two.id}-1"]


async def test_stored_photos_of_a_batch_wait_in_the_store(
    queue: JobQueue, store: BreakableStore, redis: Redis, keys: Keys
) -> None:
    async def photos() -> AsyncIterator[bytes]:
        for data in (b"one", b"two"):
            yield data

    batch_id, _ = await queue.batches.create_stored(new_batch_id(), "default", 1, [ENTRY, ENTRY], photos(), 6)
    one, two = (entry_job_id(batch_id, index) for index in range(2))
    assert store.kept() == sorted([f"image/{one}", f"image/{two}"])
    assert await call(redis, "EXISTS", keys.image(one)) == 0
    week_s = 7 * 24 * 3600
    assert all(week_s - 60 < left_s <= week_s for left_s in (await noted(redis, keys)).values())
    taken = (await queue.batches.take(1))[0]
    assert await queue.batches.load(taken) == b"one"
    job = replace(make_job("batch"), id=one, batch_id=batch_id)
    assert await queue.submit(job, None, entry=0) == job
    assert (await noted(redis, keys))[f"image:{one}"] == float("inf")
    await queue.batches.cancel(batch_id)
    assert store.kept() == [f"image/{one}"]  # the entry that was no job has left nothing
    assert (await noted(redis, keys))[f"image:{one}"] < 11


async def test_results_of_short_life_are_gone_in_time(
    redis_url: str, namespace: str, store: BreakableStore, redis: Redis, keys: Keys
) -> None:
    policy = QueuePolicy(lease_ms=LONG_LEASE_MS, result_ttl_s=7)
    async with open_queue(redis_url, namespace, policy, objects=store) as queue:
        job = make_job()
        await queue.submit(job, b"photo")
        (claim,) = await queue.claim("w", 1, 0)
        await finish(queue, claim)
        left = await noted(redis, keys)
        done = await queue.get(job.id)
        assert done.finished_ms is not None
        assert done.expires_ms == done.finished_ms + 7000
        assert 0 < left[f"result:{job.id}:1"] <= 7


async def test_the_sweeper_goes_on_after_trouble(
    queue: JobQueue, store: BreakableStore, redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SWEEP_EVERY_S", 0.01)
    monkeypatch.setattr(objects, "_SWEEP_LEASE_MS", 1)
    job = make_job()
    await queue.submit(job, b"photo", b"mask")
    await queue.cancel(job.id)
    await let_time_pass(redis, keys)
    failed: list[str] = []
    monkeypatch.setattr(retention.logger, "warning", lambda text, *_: failed.append(text))
    sweeping = asyncio.create_task(queue.retention.run())

    async def has_failed() -> bool:
        return bool(failed)

    async def is_clear() -> bool:
        return not store.kept() and not await noted(redis, keys)

    with store.broken():
        await until(has_failed)
    await until(is_clear)
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)


async def test_photos_that_nobody_sweeps_are_told_of(
    queue: JobQueue, redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    await queue.submit(make_job(), b"photo")
    async with open_queue(redis_url, namespace) as other:
        await other.retention.run()
    assert "1 photos are in an object store that VLMIR_STORAGE no longer names" in caplog.text


async def test_a_purge_is_kept_though_whoever_asked_dies(
    queue: JobQueue, store: BreakableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    await queue.submit(job, b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    await finish(queue, claim)

    async def die(_: object) -> bool:
        raise QueueUnavailableError("in the middle")

    monkeypatch.setattr(queue.retention, "delete", die)
    with pytest.raises(QueueUnavailableError):
        await queue.purge(job.id)
    assert await queue.retention.sweep() == 2
    assert store.kept() == []
