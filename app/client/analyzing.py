"""The part of both clients that has photos looked at without restoring them."""

from __future__ import annotations

import asyncio
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from app.client.analyses import PAGE, RemoteAnalysis, analyses_request, analysis_request, page_of, read_page
from app.client.documents import RemoteJob
from app.client.errors import WaitTimeoutError, failure_of
from app.client.requests import FIRST_POLL_S, LAST_POLL_S, Request, bytes_of
from app.client.retries import Retries
from app.errors import ServiceError


class Analyses(ABC):
    """For programs without an event loop; part of `VlmirClient`."""

    @abstractmethod
    def _ask(self, request: Request) -> httpx.Response: ...

    @abstractmethod
    def wait(
        self,
        job: RemoteJob | str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[RemoteJob], None] | None = None,
    ) -> RemoteJob:
        """Wait for the end of a job."""

    @abstractmethod
    def result(self, job: RemoteJob | str) -> bytes:
        """Give the result of a job."""

    def analyze(
        self,
        photo: bytes | Path | str,
        *,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> RemoteAnalysis:
        """Have a photo looked at, without restoring it.

        Args:
            photo: Bytes, or path of a file.
            timeout_s: Longest wait in seconds beyond the service's own; None waits without end.
            idempotency_key: As for `submit`.
            options: caption, model, metadata, start_within, finish_within; None means the service's default.

        Raises:
            JobFailedError: The photo cannot be looked at.
            WaitTimeoutError: It takes longer than `timeout_s`.
        """
        answer = self._ask(analysis_request(bytes_of(photo), idempotency_key, options))
        if answer.status_code != httpx.codes.ACCEPTED:
            return RemoteAnalysis.of(answer.json())
        job = self.wait(RemoteJob.of(answer.json()), timeout_s=timeout_s)
        error = failure_of(job.state, job.error_code, job.error_detail)
        if error is not None:
            raise error
        return RemoteAnalysis.of(json.loads(self.result(job)))

    def analyze_many(
        self,
        photos: Sequence[bytes | Path | str],
        *,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> list[RemoteAnalysis | ServiceError]:
        """Have several photos looked at in one request.

        Args:
            photos: Bytes, or paths of files; at least one.
            timeout_s: Longest wait in seconds; None waits without end.
            idempotency_key: As for `submit`.
            options: As for `analyze`, the same for all.

        Returns:
            What was seen in each photo, or why nothing was, in their order.

        Raises:
            WaitTimeoutError: It takes longer than `timeout_s`.
        """
        asked = analyses_request([bytes_of(photo) for photo in photos], idempotency_key, options)
        batch, polls, quiet = self._ask(asked).json(), Retries(first_s=FIRST_POLL_S, longest_s=LAST_POLL_S), 1
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        while batch["state"] != "done":
            if time.monotonic() >= deadline:
                raise WaitTimeoutError(f"The photos have not been looked at within {timeout_s:g} s; it goes on.")
            time.sleep(polls.backoff_s(quiet))
            batch, quiet = self._ask(Request("GET", f"batches/{batch['id']}")).json(), quiet + 1
        pages = (self._ask(page_of(batch["id"], start)).json() for start in range(0, batch["total"], PAGE))
        return [entry for page in pages for entry in read_page(page)]


class AsyncAnalyses(ABC):
    """For programs with an event loop; part of `AsyncVlmirClient`."""

    @abstractmethod
    async def _ask(self, request: Request) -> httpx.Response: ...

    @abstractmethod
    async def wait(
        self,
        job: RemoteJob | str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[RemoteJob], None] | None = None,
    ) -> RemoteJob:
        """Wait for the end of a job."""

    @abstractmethod
    async def result(self, job: RemoteJob | str) -> bytes:
        """Give the result of a job."""

    async def analyze(
        self,
        photo: bytes | Path | str,
        *,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> RemoteAnalysis:
        """Have a photo looked at, without restoring it.

        Args:
            photo: Bytes, or path of a file.
            timeout_s: Longest wait in seconds beyond the service's own; None waits without end.
            idempotency_key: As for `submit`.
            options: caption, model, metadata, start_within, finish_within; None means the service's default.

        Raises:
            JobFailedError: The photo cannot be looked at.
            WaitTimeoutError: It takes longer than `timeout_s`.
        """
        image = await asyncio.to_thread(bytes_of, photo)
        answer = await self._ask(analysis_request(image, idempotency_key, options))
        if answer.status_code != httpx.codes.ACCEPTED:
            return RemoteAnalysis.of(answer.json())
        job = await self.wait(RemoteJob.of(answer.json()), timeout_s=timeout_s)
        error = failure_of(job.state, job.error_code, job.error_detail)
        if error is not None:
            raise error
        return RemoteAnalysis.of(json.loads(await self.result(job)))

    async def analyze_many(
        self,
        photos: Sequence[bytes | Path | str],
        *,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> list[RemoteAnalysis | ServiceError]:
        """Have several photos looked at in one request.

        Args:
            photos: Bytes, or paths of files; at least one.
            timeout_s: Longest wait in seconds; None waits without end.
            idempotency_key: As for `submit`.
            options: As for `analyze`, the same for all.

        Returns:
            What was seen in each photo, or why nothing was, in their order.

        Raises:
            WaitTimeoutError: It takes longer than `timeout_s`.
        """
        images = [await asyncio.to_thread(bytes_of, photo) for photo in photos]
        asked = analyses_request(images, idempotency_key, options)
        batch, polls, quiet = (await self._ask(asked)).json(), Retries(first_s=FIRST_POLL_S, longest_s=LAST_POLL_S), 1
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        while batch["state"] != "done":
            if time.monotonic() >= deadline:
                raise WaitTimeoutError(f"The photos have not been looked at within {timeout_s:g} s; it goes on.")
            await asyncio.sleep(polls.backoff_s(quiet))
            batch, quiet = (await self._ask(Request("GET", f"batches/{batch['id']}"))).json(), quiet + 1
        pages = [(await self._ask(page_of(batch["id"], start))).json() for start in range(0, batch["total"], PAGE)]
        return [entry for page in pages for entry in read_page(page)]
