"""The real API over a real Redis, called in this process, and a worker whose restoration is a plain function."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from app.api.app import create_app
from app.api.deps import Services
from app.fetch.fetcher import ImageFetcher
from app.images import ImageLimits, decode, encode
from app.jobs.job import Finding
from app.jobs.queue import Claim, JobQueue
from app.settings import Settings

FOUND = (Finding("rain", 0.9, 0.6), Finding("noise", 0.2, 0.1))
CAPTION = "a dog on a beach"


def api_settings(redis_url: str, namespace: str, **more: Any) -> Settings:
    return Settings(redis_url=redis_url, namespace=namespace, **more)


@contextlib.asynccontextmanager
async def running_api(
    settings: Settings, fetcher: ImageFetcher | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, Services]]:
    """An HTTP client of the app, and the app's own parts."""
    app = create_app(settings, fetcher)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
            yield client, app.state.services


@contextlib.asynccontextmanager
async def working(queue: JobQueue, work: Callable[[Claim], bytes | Exception] | None = None) -> AsyncIterator[None]:
    """A worker that claims, shows two steps of progress and finishes, as long as the block lasts."""
    stopping = asyncio.Event()
    task = asyncio.create_task(_work(queue, work or invert, stopping))
    try:
        yield
    finally:
        stopping.set()  # a cancellation alone may be swallowed by asyncio.wait_for before Python 3.12
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def invert(claim: Claim) -> bytes:
    """A "restoration" that is easy to recognise: the negative, in the format asked for."""
    photo = decode(claim.image, ImageLimits())
    return encode(photo, photo.rgb.max() - photo.rgb, claim.job.options.format)[0]


async def _work(queue: JobQueue, work: Callable[[Claim], bytes | Exception], stopping: asyncio.Event) -> None:
    await queue.ensure()
    while not stopping.is_set():
        await queue.announce("tester", True, "negative", 60_000)
        for claim in await queue.claim("tester", limit=4, block_ms=500):
            await queue.progress(claim, 1, 2, CAPTION, FOUND)
            result = work(claim)
            if isinstance(result, Exception):
                await queue.fail(claim, getattr(result, "code", "restoration_failed"), str(result))
                continue
            source = decode(claim.image, ImageLimits()).format
            name = claim.job.options.format or {"heic": "jpeg", "gif": "png"}.get(source, source)
            await queue.finish(claim, result, f"image/{name}", caption=CAPTION, findings=FOUND, steps_total=2)


async def until_state(client: httpx.AsyncClient, path: str, *states: str, within_s: float = 10.0) -> dict[str, Any]:
    """Poll a job until it is in one of the states."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        body: dict[str, Any] = (await client.get(path)).json()
        if body.get("state") in states:
            return body
        assert loop.time() < deadline, f"still {body} after {within_s} s, expected {states}"
        await asyncio.sleep(0.01)
