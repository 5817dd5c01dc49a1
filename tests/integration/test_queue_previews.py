"""Previews in a job's events: for listeners only, the newest only, from the latest attempt only."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from app.jobs.connection import call, connect
from app.jobs.keys import Keys
from app.jobs.previews import MAX_PREVIEW_BYTES, Preview
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import LONG_LEASE_MS, SHORT_LEASE_MS, make_job, open_queue, until

pytestmark = pytest.mark.anyio


def preview(step: int, data: bytes = b"picture") -> Preview:
    return Preview(step, 9, 64, 48, "image/webp", data)


async def events(queue: JobQueue, namespace: str, job_id: str) -> list[tuple[str, dict[str, object], bytes | None]]:
    rows = await call(queue._redis, "XRANGE", Keys(namespace).events(job_id), "-", "+")
    return [(fields[b"type"].decode(), json.loads(fields[b"data"]), fields.get(b"bytes")) for _, fields in rows]


async def previews(queue: JobQueue, namespace: str, job_id: str) -> list[tuple[object, bytes | None]]:
    found = await events(queue, namespace, job_id)
    return [(data["step"], picture) for kind, data, picture in found if kind == "preview"]


async def test_only_who_listens_gets_previews_and_only_the_newest(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace) as queue:
        job = await queue.submit(make_job(), b"photo")
        (claim,) = await queue.claim("ada", 1, 0)
        assert not (await queue.progress(claim, 0, 9)).watched
        assert (await queue.preview(claim, preview(1))).owned
        assert await previews(queue, namespace, job.id) == []
        await queue.listen(job.id)
        assert (await queue.progress(claim, 1, 9)).watched
        assert (await queue.renew(claim)).watched
        for step in (1, 2, 3):
            assert (await queue.preview(claim, preview(step, bytes([step]) * 100))).watched
        assert await previews(queue, namespace, job.id) == [(3, b"\x03" * 100)]
        (shown,) = [data for kind, data, _ in await events(queue, namespace, job.id) if kind == "preview"]
        about = {"step": 3, "steps_total": 9, "width": 64, "height": 48, "media_type": "image/webp", "attempt": 1}
        assert {name: shown[name] for name in about} == about


async def test_listening_ends_by_itself(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(lease_ms=LONG_LEASE_MS, listen_ms=50)
    async with open_queue(redis_url, namespace, policy) as queue:
        job = await queue.submit(make_job(), b"photo")
        (claim,) = await queue.claim("ada", 1, 0)
        await queue.listen(job.id)

        async def is_unwatched() -> bool:
            return not (await queue.renew(claim)).watched

        await until(is_unwatched)
        assert not (await queue.preview(claim, preview(1))).watched
        assert await previews(queue, namespace, job.id) == []


async def test_preview_of_a_lost_attempt_is_refused(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=SHORT_LEASE_MS)) as queue:
        job = await queue.submit(make_job(), b"photo")
        await queue.listen(job.id)
        (old,) = await queue.claim("ada", 1, 0)
        (new,) = await queue.claim("bob", 1, 10_000)
        assert not (await queue.preview(old, preview(5))).owned
        assert (await queue.preview(new, preview(1))).owned
        assert [step for step, _ in await previews(queue, namespace, job.id)] == [1]


async def test_end_of_a_job_takes_its_preview_away(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace) as queue:
        job = await queue.submit(make_job(), b"photo")
        await queue.listen(job.id)
        (claim,) = await queue.claim("ada", 1, 0)
        await queue.preview(claim, preview(1))
        await queue.finish(claim, b"done", "image/png", caption=None, findings=(), steps_total=9)
        assert not (await queue.preview(claim, preview(2))).owned
        assert await previews(queue, namespace, job.id) == []
        assert [data.get("state") for _, data, _ in await events(queue, namespace, job.id)] == [
            "queued",
            "running",
            "succeeded",
        ]


async def test_large_previews_are_refused_before_they_are_sent() -> None:
    for data in (b"", bytes(MAX_PREVIEW_BYTES + 1)):
        with pytest.raises(ValueError, match="encode it smaller"):
            preview(1, data)


async def test_age_of_a_claimed_job_does_not_depend_on_the_clock_of_the_api(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace) as queue:
        before_s = time.monotonic()
        hour_ms = 3_600_000
        for wrong_ms in (-hour_ms, hour_ms):
            job = make_job()
            await queue.submit(replace(job, created_ms=job.created_ms + wrong_ms), b"photo")
        for claim in await queue.claim("ada", 2, 0):
            assert before_s - 1 <= claim.accepted_s <= time.monotonic()


async def test_age_counts_from_acceptance_also_after_a_hand_back(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace) as queue:
        job = await queue.submit(make_job(), b"photo")
        redis = connect(redis_url)
        await call(redis, "HINCRBY", Keys(namespace).job(job.id), "accepted_ms", -60_000)  # a minute ago
        await redis.aclose()
        for _ in range(2):
            (claim,) = await queue.claim("ada", 1, 0)
            assert 59 < time.monotonic() - claim.accepted_s < 120
            await queue.hand_back(claim)
