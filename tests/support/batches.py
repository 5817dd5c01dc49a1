"""Batches for tests: a host with photos, and looking at how far a batch is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx

from app.api.deps import Services
from app.fetch.fetcher import ImageFetcher
from app.jobs.batch import TakenEntry, entry_job_id
from app.jobs.job import Job
from app.jobs.queue import JobQueue
from tests.support import sample_photos as samples
from tests.support.jobs import make_job
from tests.support.photo_host import PhotoHost, loopback_policy, resolving, response

PHOTO = samples.png()


async def give(path: str, writer: asyncio.StreamWriter) -> None:
    """A host with good photos, missing ones and others."""
    if path.startswith("/missing"):
        writer.write(response(b"", "404 Gone"))
    elif path.startswith("/text"):
        writer.write(response(b"no photo at all"))
    else:
        writer.write(response(PHOTO))


def fetcher() -> ImageFetcher:
    return ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))


def url(host: PhotoHost, path: str) -> str:
    return f"http://photos.example:{host.port}/{path}"


async def until_batch(client: httpx.AsyncClient, path: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Poll a batch until something holds of it."""
    deadline = asyncio.get_running_loop().time() + 20
    while True:
        batch: dict[str, Any] = (await client.get(path)).json()
        if holds(batch):
            return batch
        assert asyncio.get_running_loop().time() < deadline, batch
        await asyncio.sleep(0.02)


def is_done(batch: dict[str, Any]) -> bool:
    return bool(batch["state"] == "done")


def counted(batch: dict[str, Any]) -> dict[str, int]:
    return {state: count for state, count in batch["counts"].items() if count}


async def stored_photos(services: Services, batch: dict[str, Any]) -> int:
    queue = services.queue
    names = [queue._keys.image(entry_job_id(batch["id"], index)) for index in range(batch["total"])]
    return int(await queue._redis.exists(*names))


async def taken_once(queue: JobQueue) -> TakenEntry:
    """Take until an entry is given out."""
    deadline = asyncio.get_running_loop().time() + 10
    while not (taken := await queue.batches.take(10)):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
    return taken[0]


def make_entry_job(job_id: str, batch_id: str) -> Job:
    return replace(make_job("batch"), id=job_id, batch_id=batch_id)
