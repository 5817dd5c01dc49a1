"""Scenes with many photos at once, and with photos that are only looked at."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from app.jobs.job import JobState
from tests.soak.caller import JOB_S, Caller, UnexpectedError


async def analyze(caller: Caller) -> None:
    """Have a photo looked at."""
    found = await caller.client.analyze(caller.photos.any(caller.chance))
    if not found.findings:
        raise UnexpectedError("an analysis tells nothing of damage")


async def analyze_later(caller: Caller) -> None:
    """Have a photo looked at and fetch what was seen afterwards."""
    photo = caller.photos.any(caller.chance)
    headers = {"Prefer": "respond-async", "Content-Type": "application/octet-stream"}
    answer = caller.expect(await caller.http.post("/analyze", content=photo, headers=headers), 202)
    job = await caller.ended(await caller.client.job(answer.json()["id"]), JobState.SUCCEEDED)
    caller.expect(await caller.http.get(f"/jobs/{job.id}/result"), 200, 410)


async def batch_of_uploads(caller: Caller) -> None:
    """Several photos in a form, to their end."""
    batch = await _hand_in(caller)
    batch = await _ended(caller, batch)
    if batch["counts"]["succeeded"] + batch["counts"]["expired"] + batch["counts"]["deleted"] != batch["total"]:
        raise UnexpectedError(f"a batch ended with {batch['counts']}")
    caller.expect(await caller.http.get(batch["links"]["entries"]), 200)


async def batch_of_urls(caller: Caller) -> None:
    """Photos by their URLs, one of which is not there; what is refused is told by webhook."""
    good = [caller.picture_url(f"photo/{caller.number()}") for _ in range(3)]
    options = {"quality": "fast", "webhook": caller.hooks.url("/hook")}
    body = {"options": options, "entries": [*good, caller.picture_url("missing")]}
    answer = caller.expect(await caller.http.post("/restore/batch", json=body), 202)
    batch = await _ended(caller, answer.json())
    if batch["counts"]["refused"] != 1:
        raise UnexpectedError(f"a batch with one missing photo ended with {batch['counts']}")


async def cancel_batch(caller: Caller) -> None:
    """Cancel a batch whose photos wait, run or have ended."""
    batch = await _hand_in(caller)
    await asyncio.sleep(caller.chance.uniform(0, 0.5))
    caller.expect(await caller.http.delete(batch["links"]["self"]), 200)
    await _ended(caller, batch)


async def analyze_many(caller: Caller) -> None:
    """Have several photos looked at in one request."""
    photos = [caller.chance.choice(caller.photos.small) for _ in range(3)]
    await caller.client.analyze_many(photos, timeout_s=JOB_S)


async def _hand_in(caller: Caller) -> dict[str, Any]:
    photos = [("image", (f"{number}", caller.chance.choice(caller.photos.small))) for number in range(4)]
    answer = await caller.http.post("/restore/batch", files=photos, data={"quality": "fast"})
    found: dict[str, Any] = caller.expect(answer, 202).json()
    return found


async def _ended(caller: Caller, batch: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + JOB_S
    while batch["state"] != "done":
        if time.monotonic() > deadline:
            raise UnexpectedError(f"a batch has not ended: {batch['counts']}")
        await asyncio.sleep(0.2)
        batch = caller.expect(await caller.http.get(batch["links"]["self"]), 200).json()
    return batch
