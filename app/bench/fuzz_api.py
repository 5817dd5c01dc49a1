"""Hostile uploads sent to a service over HTTP: how each is answered, and what becomes of those that are accepted.

What is accepted although it is damaged is a photo as any other: its restoration is waited for, then deleted. Few are on
their way at a time, so that the queue never fills and no answer is due to that.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from app.bench.kinds import make_samples, save
from app.bench.mutate import make_hostile, originals
from app.client import AsyncVlmirClient, RemoteJob
from app.client.errors import WaitTimeoutError
from app.errors import (
    AnimatedImageError,
    EmptyUploadError,
    ImageTooLargeError,
    ImageTooSmallError,
    InvalidImageError,
    InvalidMaskError,
    ServiceError,
    UnsupportedFormatError,
)
from app.jobs.job import JobState

_ANSWER_S = 60.0
_JOB_S = 180.0
_PIECE_BYTES = 64 * 1024
_DECLARED = ("image/jpeg", "image/png", "image/heic", "application/octet-stream", "image/x-unheard-of")
_OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {"format": "png"},
    {"photo_metadata": "strip-gps"},
    {"format": "jpeg", "quality_factor": "30"},
    {"photo_metadata": "strip", "format": "webp"},
)
_OF_PHOTOS = frozenset(
    kind.code
    for kind in (
        AnimatedImageError,
        EmptyUploadError,
        ImageTooLargeError,
        ImageTooSmallError,
        InvalidImageError,
        InvalidMaskError,
        UnsupportedFormatError,
    )
)
"""Codes of failed jobs that say what is wrong with the photo; all others are the service's doing."""
_UNSEEN, _UNFINISHED, _SUCCEEDED = "deleted unseen", "unfinished", "succeeded"

WAYS = ("form", "bare", "in chunks", "as mask")
"""How uploads are sent: in a form, as the body, as a body of unknown length, as the mask of a good photo."""

Make = Callable[[int], tuple[str, bytes]]
"""Gives the name of what was done to an upload and the upload, by its number."""


@dataclass(frozen=True)
class FuzzLoad:
    """What to send.

    Attributes:
        make: Gives the uploads; called in threads.
        first: Number of the first one.
        uploads: How many.
        at_once: Most that are on their way at a time, with the restorations of those that are accepted.
        jobs: Most restorations that are waited for; jobs beyond are deleted while they wait or run.
        ways: Ways to send them, of which each upload takes one by its number.
    """

    make: Make
    first: int
    uploads: int
    at_once: int
    jobs: int
    ways: tuple[str, ...] = WAYS


@dataclass
class ApiFuzz:
    """What became of hostile uploads.

    Attributes:
        uploads: How many were sent.
        statuses: How often each status came, with the code of a refusal.
        by_change: The same per way of changing a file.
        server_errors: Every answer from 500 on to any request: upload, method, path, status.
        unanswered: Uploads without an answer, by number, and why.
        jobs: How the jobs of accepted uploads ended.
        harmed: Accepted uploads that were lost, or failed for another reason than the photo: number, change, end.
        unfinished: Uploads whose jobs did not end in three minutes, by number.
        slowest_s: Longest time for an answer to an upload.
        slowest: Its number.
    """

    uploads: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    by_change: dict[str, dict[str, int]] = field(default_factory=dict)
    server_errors: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    jobs: dict[str, int] = field(default_factory=dict)
    harmed: list[str] = field(default_factory=list)
    unfinished: list[int] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = -1

    def count(self, index: int, change: str, answer: str, seconds: float) -> None:
        """Add an upload and its answer."""
        self.uploads += 1
        for counts in (self.statuses, self.by_change.setdefault(change, {})):
            counts[answer] = counts.get(answer, 0) + 1
        if seconds > self.slowest_s:
            self.slowest_s, self.slowest = seconds, index

    def end(self, index: int, change: str, ended: str) -> None:
        """Add how the job of an accepted upload ended."""
        self.jobs[ended] = self.jobs.get(ended, 0) + 1
        is_of_photo = ended.removeprefix("failed: ") in _OF_PHOTOS
        if not is_of_photo and ended not in (_SUCCEEDED, _UNSEEN, _UNFINISHED):
            self.harmed.append(f"upload {index} ({change}): {ended}")


def hostile_load(uploads: int, seed: int, at_once: int, jobs: int, first: int = 0) -> FuzzLoad:
    """Give damaged and hostile uploads; the same number and seed give the same file."""
    return FuzzLoad(partial(make_hostile, seed=seed), first, uploads, at_once, jobs)


def original_load() -> FuzzLoad:
    """Give the files that the others are made from, undamaged: all must be restored, and all decoders are loaded."""
    files = originals()
    return FuzzLoad(lambda index: ("none", files[index]), 0, len(files), 2, len(files), WAYS[:-1])


async def fuzz_service(
    url: str, load: FuzzLoad, api_key: str | None = None, on_progress: Callable[[int], None] = lambda done: None
) -> ApiFuzz:
    """Send uploads and follow what is accepted to its end.

    Args:
        url: Address of the service.
        load: What to send.
        api_key: Its API key, if it needs one.
        on_progress: Called with the number of those done.
    """
    async with _Fuzzer(url, load, api_key) as fuzzer:
        numbers, done = iter(range(load.first, load.first + load.uploads)), itertools.count(1)

        async def send_one_after_another() -> None:
            for index in numbers:
                await fuzzer.take(index)
                on_progress(next(done))

        await asyncio.gather(*(send_one_after_another() for _ in range(load.at_once)))
        return fuzzer.found


class _Fuzzer:
    """Sends uploads of one run."""

    def __init__(self, url: str, load: FuzzLoad, api_key: str | None) -> None:
        self.found = ApiFuzz()
        self._load = load
        self._awaited = 0
        self._good = save(make_samples(), "PNG")
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        watch = partial(_WatchedTransport, self.found.server_errors)
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=_ANSWER_S, transport=watch())
        self._client = AsyncVlmirClient(url, api_key=api_key, transport=watch())

    async def __aenter__(self) -> _Fuzzer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        await self._client.close()

    async def take(self, index: int) -> None:
        """Send one upload, follow its job, note what became of both."""
        change, data = await asyncio.to_thread(self._load.make, index)
        started = time.monotonic()
        try:
            answer = await self._http.post("restore", **self._request(index, data))
        except httpx.TransportError as error:
            self.found.unanswered.append(f"upload {index} ({change}): {type(error).__name__}")
            self.found.count(index, change, "no answer", time.monotonic() - started)
            return
        del data
        self.found.count(index, change, _describe(answer), time.monotonic() - started)
        if answer.status_code == httpx.codes.ACCEPTED:
            self.found.end(index, change, await self._follow(index, RemoteJob.of(answer.json())))

    def _request(self, index: int, data: bytes) -> dict[str, Any]:
        """Give an upload as arguments of httpx; way, declared type and options depend on its number."""
        # By chance and not in turns, since the ways to change a file take turns already.
        numbers = random.Random(index)  # noqa: S311  no secret
        way, declared = numbers.choice(self._load.ways), numbers.choice(_DECLARED)
        options = {"steps": "1", **numbers.choice(_OPTIONS)}
        if way == "form":
            return {"files": {"image": ("photo", data, declared)}, "data": options}
        if way == "as mask":
            photo, mask = ("photo.png", self._good, "image/png"), ("mask", data, declared)
            return {"files": {"image": photo, "mask": mask}, "data": options}
        content = data if way == "bare" else _pieces(data)
        return {"content": content, "headers": {"Content-Type": declared}, "params": options}

    async def _follow(self, index: int, job: RemoteJob) -> str:
        """Wait for a job and its result, delete both; gives how it ended."""
        try:
            ended = await self._await_end(index, job) if self._awaited < self._load.jobs else _UNSEEN
            await self._client.purge(job)
        except ServiceError as error:
            return f"lost: {error.code}"
        return ended

    async def _await_end(self, index: int, job: RemoteJob) -> str:
        self._awaited += 1
        try:
            job = await self._client.wait(job, timeout_s=_JOB_S)
        except WaitTimeoutError:
            self.found.unfinished.append(index)
            return _UNFINISHED
        if job.state is not JobState.SUCCEEDED:
            return f"{job.state.value}: {job.error_code}"
        return _SUCCEEDED if await self._client.result(job) else "succeeded without a result"


class _WatchedTransport(httpx.AsyncBaseTransport):
    """Sends requests over the network and notes every answer that is an error of the server, also to polls."""

    def __init__(self, errors: list[str]) -> None:
        self._errors = errors
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        answer = await self._inner.handle_async_request(request)
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            self._errors.append(f"{request.method} {request.url.path}: {answer.status_code}")
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE_BYTES):
        yield data[start : start + _PIECE_BYTES]


def _describe(answer: httpx.Response) -> str:
    """Give status and, of a refusal, its code."""
    if answer.is_success:
        return str(answer.status_code)
    try:
        code = answer.json()["code"]
    except (ValueError, KeyError, TypeError):
        code = "without a code"
    return f"{answer.status_code} {code}"
