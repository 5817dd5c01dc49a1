"""What every scene of a run has: clients, files, chance, hosts for webhooks and photos, and a count of what came."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.client import AsyncVlmirClient, RemoteJob
from app.errors import ResultGoneError
from app.jobs.job import JobState
from tests.soak.photos import Photos
from tests.support.photo_host import PhotoHost, photo_host, response
from tests.support.webhook_host import Received, WebhookHost, webhook_host

JOB_S = 90.0
"""Time in which a job must end."""

_EXPIRED = ("result_gone", "job_not_found", "batch_not_found")
_KEPT_S = 2.0  # the service closes idle connections after five

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"quality": "fast"},
    {"quality": "best"},
    {"steps": 3, "seed": 5},
    {"format": "webp", "quality_factor": 60},
    {"format": "png"},
    {"photo_metadata": "strip", "format": "jpeg"},
    {"kinds": ["rain", "noise"]},
    {"caption": "a dog on a beach", "metadata": {"order": 7}},
    {"priority": "batch"},
)


class UnexpectedError(Exception):
    """The service answered otherwise than it should."""


@dataclass
class Tally:
    """What came of a load.

    Attributes:
        scenes: How often each scene was played.
        answers: How often each HTTP status came.
        jobs: How jobs ended.
        failures: What was not as it should be.
        expired: Scenes that came too late for a result or a record, which had gone after its time.
    """

    scenes: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    jobs: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    expired: int = 0


class Caller:
    """Plays scenes against one service; made by `calling`.

    Attributes:
        http: For requests as they are written.
        client: The client of the service.
        url: Address of the API.
        photos: Files.
        chance: Source of all choices.
        tally: Counts.
        hooks: Gets webhooks.
        pictures: Gives photos by URL.
        seed: Of the run.
    """

    def __init__(
        self, url: str, photos: Photos, seed: int, tally: Tally, hooks: WebhookHost, pictures: PhotoHost
    ) -> None:
        self.url, self.photos, self.seed, self.tally = url, photos, seed, tally
        self.hooks, self.pictures = hooks, pictures
        self.chance = random.Random(seed)
        self.http = httpx.AsyncClient(base_url=url, timeout=60, transport=_CountingTransport(tally))
        self.client = AsyncVlmirClient(url, transport=_CountingTransport(tally))
        self._number = 0

    def number(self) -> int:
        """Give a number that was not given before."""
        self._number += 1
        return self._number

    def picture_url(self, path: str) -> str:
        """Give the address of a photo."""
        return f"http://photos.example:{self.pictures.port}/{path}"

    async def submit(self, photo: bytes, **options: Any) -> RemoteJob:
        """Hand a photo in."""
        return await self.client.submit(photo, **options)

    async def ended(self, job: RemoteJob, *states: JobState) -> RemoteJob:
        """Wait for the end of a job, and hold its state against those expected."""
        job = await self.client.wait(job, timeout_s=JOB_S)
        self.tally.jobs[job.state.value] += 1
        if states and job.state not in states:
            raise UnexpectedError(f"a job ended {job.state.value} ({job.error_code}: {job.error_detail})")
        return job

    def expect(self, answer: httpx.Response, *statuses: int) -> httpx.Response:
        """Hold an answer against the statuses expected.

        Raises:
            ResultGoneError: What was asked for had expired, which is no fault of the service.
            UnexpectedError: It has another status.
        """
        if answer.status_code not in statuses:
            code = answer.json().get("code") if answer.status_code in (404, 410) else None
            if code in _EXPIRED:
                raise ResultGoneError(answer.text)
            asked = f"{answer.request.method} {answer.request.url.path}"
            raise UnexpectedError(f"{asked}: {answer.status_code} {answer.text[:300]}")
        return answer


@contextlib.asynccontextmanager
async def calling(url: str, photos: Photos, seed: int, tally: Tally) -> AsyncIterator[Caller]:
    """A caller with hosts of its own, as long as the block lasts."""
    seen: set[str] = set()

    def answer_hook(request: Received) -> bytes:
        if request.path == "/gone":
            return response(b"", "410 Gone")
        if request.path == "/flaky" and request.id not in seen:
            seen.add(request.id)
            return response(b"", "500 Internal Server Error")
        return response(b"", "204 No Content")

    async def answer_photo(path: str, writer: asyncio.StreamWriter) -> None:
        is_there = path.startswith("/photo/")
        data = photos.small[int(path.removeprefix("/photo/")) % len(photos.small)] if is_there else b""
        writer.write(response(data) if is_there else response(b"", "404 Not Found"))

    async with webhook_host(answer_hook) as hooks, photo_host(answer_photo) as pictures:
        caller = Caller(url, photos, seed, tally, hooks, pictures)
        try:
            yield caller
        finally:
            await caller.http.aclose()
            await caller.client.close()


class _CountingTransport(httpx.AsyncBaseTransport):
    """Sends requests over the network and counts the answers."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(keepalive_expiry=_KEPT_S))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; looking is done again when the connection had just been closed for its idleness."""
        try:
            answer = await self._inner.handle_async_request(request)
        except (httpx.ReadError, httpx.RemoteProtocolError):
            if request.method not in ("GET", "HEAD"):
                raise
            answer = await self._inner.handle_async_request(request)
        self._tally.answers[str(answer.status_code)] += 1
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
