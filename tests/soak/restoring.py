"""Scenes around a single job: from the upload to the result, watched, left, canceled, deleted."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from contextlib import aclosing

from app.client import RemoteJob
from app.jobs.job import JobState
from tests.soak.caller import JOB_S, OPTIONS, Caller, UnexpectedError

SUCCEEDED, CANCELED, FAILED = JobState.SUCCEEDED, JobState.CANCELED, JobState.FAILED


async def restore(caller: Caller) -> None:
    """Hand a photo in, wait for it, fetch the result."""
    job = await caller.submit(caller.photos.any(caller.chance), **caller.chance.choice(OPTIONS))
    job = await caller.ended(job, SUCCEEDED)
    if not await caller.client.result(job):
        raise UnexpectedError("a result is empty")


async def restore_large(caller: Caller) -> None:
    """The same with a photo of several megapixels."""
    job = await caller.submit(caller.chance.choice(caller.photos.large), quality="fast", format="jpeg")
    await caller.client.result(await caller.ended(job, SUCCEEDED))


async def restore_at_once(caller: Caller) -> None:
    """Hand a photo in and get the restored one as the answer."""
    photo = caller.photos.any(caller.chance)
    headers = {"Prefer": "wait=50", "Content-Type": "application/octet-stream"}
    answer = await caller.http.post("/restore", params={"quality": "fast"}, content=photo, headers=headers)
    caller.expect(answer, 200)


async def fill_holes(caller: Caller) -> None:
    """A photo with a mask."""
    job = await caller.submit(caller.photos.masked, mask=caller.photos.mask, steps=2)
    await caller.ended(job, SUCCEEDED)


async def follow(caller: Caller) -> None:
    """Follow a job with previews to its end."""
    job = await caller.submit(caller.photos.small[-1], steps=6)
    last = None
    async with aclosing(caller.client.events(job, previews=True)) as events:
        async for event in events:
            last = event
    if last is None or not last.is_terminal:
        raise UnexpectedError("a stream of events ended before its job")


async def leave_events(caller: Caller) -> None:
    """Follow a job and go away in the middle; come back with the last id, and go away again."""
    job = await caller.submit(caller.photos.small[-2], steps=12)
    known: str | None = None
    for _ in range(2):
        async with aclosing(caller.client.events(job, after=known, previews=True)) as events:
            async for event in events:
                known = event.id or known
                break
    await caller.ended(job, SUCCEEDED)


async def cancel(caller: Caller) -> None:
    """Cancel a job that waits or runs, at any moment."""
    job = await caller.submit(caller.photos.any(caller.chance), steps=60)
    await asyncio.sleep(caller.chance.uniform(0, 0.5))
    await caller.client.cancel(job)
    await caller.ended(job, CANCELED, SUCCEEDED)


async def purge(caller: Caller) -> None:
    """Delete a job, at any moment or after its end."""
    job = await caller.submit(caller.photos.any(caller.chance), steps=8)
    if caller.chance.random() < 0.5:
        await caller.ended(job, SUCCEEDED)
    else:
        await asyncio.sleep(caller.chance.uniform(0, 0.3))
    await caller.client.purge(job)
    caller.expect(await caller.http.get(f"/jobs/{job.id}"), 404)


async def repeat(caller: Caller) -> None:
    """Send the same request twice under one Idempotency-Key, and then another one under it."""
    key, photo = uuid.uuid4().hex, caller.photos.any(caller.chance)
    first, second = [await caller.submit(photo, idempotency_key=key, quality="fast") for _ in range(2)]
    if first.id != second.id:
        raise UnexpectedError("a repeated request made a second job")
    headers = {"Idempotency-Key": key}
    answer = await caller.http.post("/restore", files={"image": ("a", caller.photos.mask)}, headers=headers)
    caller.expect(answer, 422)
    await caller.ended(first, SUCCEEDED)


async def miss_deadline(caller: Caller) -> None:
    """A job that cannot be done in time."""
    job = await caller.submit(caller.photos.middle[0], steps=100, finish_within=0.05)
    await caller.ended(job, FAILED)


async def tell_by_webhook(caller: Caller) -> None:
    """A webhook that is taken at once, at the second try, or refused for good."""
    path, state = caller.chance.choice((("/hook", "delivered"), ("/flaky", "delivered"), ("/gone", "disabled")))
    options = {"quality": "fast", "webhook": caller.hooks.url(path)}
    job = await caller.ended(await caller.submit(caller.photos.any(caller.chance), **options), SUCCEEDED)
    deadline = time.monotonic() + JOB_S
    while True:
        answer = caller.expect(await caller.http.get(f"/jobs/{job.id}/deliveries"), 200)
        if [item["state"] for item in answer.json()["deliveries"]] == [state]:
            return
        if time.monotonic() > deadline:
            raise UnexpectedError(f"a webhook to {path} is {answer.text[:200]}, expected {state}")
        await asyncio.sleep(0.2)


async def download_in_parts(caller: Caller) -> None:
    """Fetch a result piece by piece, ask for it again, and break a download off."""
    job = await caller.submit(caller.photos.middle[0], format="png", quality="fast")
    job = await caller.ended(job, SUCCEEDED)
    path = f"/jobs/{job.id}/result"
    head = caller.expect(await caller.http.head(path), 200)
    size = int(head.headers["content-length"])
    ranges = ("bytes=0-999", f"bytes={size // 2}-", "bytes=-10")
    parts = [caller.expect(await caller.http.get(path, headers={"Range": part}), 206) for part in ranges]
    if [len(part.content) for part in parts] != [1000, size - size // 2, 10]:
        raise UnexpectedError("a part of a result has not the size asked for")
    caller.expect(await caller.http.get(path, headers={"Range": f"bytes={size}-"}), 416)
    caller.expect(await caller.http.get(path, headers={"If-None-Match": head.headers["etag"]}), 304)
    async with caller.http.stream("GET", path) as answer:
        async for _ in answer.aiter_raw(1000):
            break  # the rest is not fetched


async def fetch_by_url(caller: Caller) -> None:
    """A photo by its URL, and one that is not there."""
    body = {"image_url": caller.picture_url(f"photo/{caller.number()}"), "quality": "fast"}
    answer = caller.expect(await caller.http.post("/restore", json=body), 202)
    missing = await caller.http.post("/restore", json={"image_url": caller.picture_url("missing")})
    caller.expect(missing, 422)
    await caller.ended(RemoteJob.of(answer.json()), SUCCEEDED)


async def look_around(caller: Caller) -> None:
    """List jobs in several ways and read what machines and people read."""
    cursor = None
    for _ in range(3):
        page = await caller.client.page(limit=20, cursor=cursor)
        cursor = page.next_cursor
        if cursor is None:
            break
    await caller.client.page(states=["succeeded", "expired"], priority="batch", limit=200)
    for path in ("/metrics", "/readyz", "/healthz", "/models", "/", "/errors", "/openapi.json"):
        caller.expect(await caller.http.get(path), 200)
    caller.expect(await caller.http.get(f"/jobs/{uuid.uuid4().hex}"), 404)
    caller.expect(await caller.http.post("/restore", params={"steps": "many"}, content=b"x"), 422)
    with contextlib.suppress(ValueError):
        caller.expect(await caller.http.get("/nowhere"), 404).json()
