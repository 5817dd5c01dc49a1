"""The client for programs without an event loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from app.client.analyzing import Analyses
from app.client.documents import EndOfEvents, Event, EventLog, EventParser, JobsPage, RemoteJob
from app.client.errors import WaitTimeoutError, error_of, failure_of, unreachable
from app.client.requests import (
    FIRST_POLL_S,
    LAST_POLL_S,
    LONGEST_ABSENCE_S,
    SILENCE_S,
    Addresses,
    Request,
    bytes_of,
    page_request,
    submission,
    timeouts,
    with_api_key,
)
from app.client.retries import Retries, is_passing, is_repeatable
from app.errors import JobNotFoundError, ServiceError
from app.jobs.job import JobState


class VlmirClient(Analyses):
    """Talks to one service. Use it as a context manager, or call `close`.

    Every method raises `ServiceUnreachableError` when nothing answers, and the `ServiceError` that belongs to the code
    of a problem document (`RemoteError` for codes of a newer service). What may be sent twice is sent again first, with
    growing pauses (`Retries`).

    Example:
        >>> with VlmirClient("http://127.0.0.1:8000") as client:  # doctest: +SKIP
        ...     restored = client.restore("old.jpg", quality="best")

    Args:
        base_url: Address of the service, with a path prefix if it has one.
        timeout_s: Longest silence within one request in seconds.
        transport: How requests travel; None means over the network.
        retries: How often and how fast requests are sent again.
        headers: Sent with every request, such as keys that a proxy asks for.
        api_key: API key of the service (`vlmir_...`); None where it needs none.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        retries: Retries | None = None,
        headers: Mapping[str, str] | None = None,
        api_key: str | None = None,
    ) -> None:
        self._retries = retries or Retries()
        self._addresses = Addresses(base_url)
        sent = with_api_key(headers, api_key)
        self._http = httpx.Client(base_url=base_url, timeout=timeouts(timeout_s), transport=transport, headers=sent)

    def __enter__(self) -> VlmirClient:
        """Give the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def restore(
        self,
        photo: bytes | Path | str,
        *,
        mask: bytes | Path | str | None = None,
        timeout_s: float | None = None,
        on_progress: Callable[[RemoteJob], None] | None = None,
        **options: Any,
    ) -> bytes:
        """Restore a photo and wait for it.

        Args:
            photo: Bytes, or path of a file.
            mask: White where the photo is missing; bytes, path or None.
            timeout_s: Longest wait in seconds; None waits without end.
            on_progress: Called with the job whenever it has moved.
            options: quality, steps, seed, caption, format, photo_metadata, quality_factor, model, kinds (names),
                metadata (a mapping), start_within, finish_within (seconds) and what else the service takes; None means
                its default.

        Returns:
            Bytes of the restored photo.

        Raises:
            JobFailedError: The restoration failed; `error_code` is "deadline_exceeded" when it was not done in time.
            JobCanceledError: Somebody canceled it.
            WaitTimeoutError: It takes longer than `timeout_s`; the job goes on.
        """
        job = self.submit(photo, mask=mask, **options)
        job = self.wait(job, timeout_s=timeout_s, on_progress=on_progress)
        error = failure_of(job.state, job.error_code, job.error_detail)
        if error is not None:
            raise error
        return self.result(job)

    def submit(
        self,
        photo: bytes | Path | str,
        *,
        mask: bytes | Path | str | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> RemoteJob:
        """Hand a photo in and do not wait.

        Args:
            photo: Bytes, or path of a file.
            mask: White where the photo is missing; bytes, path or None.
            idempotency_key: Names this handing in. With one it is sent again when the connection breaks.
            options: As for `restore`.
        """
        masked = None if mask is None else bytes_of(mask)
        return RemoteJob.of(self._ask(submission(bytes_of(photo), masked, idempotency_key, options)).json())

    def models(self) -> tuple[str, ...]:
        """Give the names of the service's models; the first is for jobs that name none."""
        return tuple(item["name"] for item in self._ask(Request("GET", "models")).json()["models"])

    def job(self, job: RemoteJob | str) -> RemoteJob:
        """Give a job as it is now."""
        return RemoteJob.of(self._ask(Request("GET", self._addresses.of(job))).json())

    def page(
        self,
        *,
        states: Iterable[JobState | str] = (),
        priority: str | None = None,
        model: str | None = None,
        created_since: datetime | None = None,
        created_until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> JobsPage:
        """Give some of the service's jobs, newest first; see `jobs` for all of them.

        Args:
            states: Wanted states; none means all.
            priority: Wanted priority, or None.
            model: Wanted model, or None.
            created_since: Earliest moment of acceptance, or None.
            created_until: Moment before which they were accepted, or None.
            limit: Most jobs, 1..200.
            cursor: `JobsPage.next_cursor` of the page before; None begins with the newest.
        """
        asked = page_request(states, priority, model, created_since, created_until, limit, cursor)
        return JobsPage.of(self._ask(asked).json())

    def jobs(self, **wanted: Any) -> Iterator[RemoteJob]:
        """Give all jobs, newest first, page by page; see `page` for the arguments."""
        while True:
            page = self.page(**wanted)
            yield from page.jobs
            if page.next_cursor is None:
                return
            wanted["cursor"] = page.next_cursor

    def result(self, job: RemoteJob | str) -> bytes:
        """Give the restored photo.

        Raises:
            ResultNotReadyError: The job has not ended.
            JobFailedError: It failed.
            JobCanceledError: It was canceled.
            ResultGoneError: The result was deleted after its time.
        """
        return self._ask(Request("GET", self._addresses.of(job, "result"))).content

    def cancel(self, job: RemoteJob | str) -> RemoteJob:
        """Ask to cancel a job and give it as it is then; one that has ended stays as it is."""
        return RemoteJob.of(self._ask(Request("DELETE", self._addresses.of(job, "cancel"))).json())

    def purge(self, job: RemoteJob | str) -> bool:
        """Delete all that the service keeps of a job (photo, mask, result, record, events), now.

        One that has not ended is canceled.

        Returns:
            True when it was deleted, False when the service had no such job (any more).
        """
        request = Request("DELETE", self._addresses.of(job, "cancel"), {"purge": "true"})
        try:
            self._ask(request)
        except JobNotFoundError:
            return False  # also when it is sent again because the first answer got lost
        return True

    def events(
        self, job: RemoteJob | str, *, after: str | None = None, previews: bool = False, silence_s: float = SILENCE_S
    ) -> Iterator[Event]:
        """Follow a job: give what happened to it and what happens, up to its end.

        A connection that breaks, or is silent for too long, is made anew and goes on after the last event: each event
        comes once. A service that is away for up to a minute is waited for.

        Args:
            job: The job or its id.
            after: Id of the last event that is known; None begins with the first.
            previews: Whether to have small pictures made and sent (`Event.image`).
            silence_s: Seconds without any sign of life after which a connection counts as broken.

        Raises:
            JobNotFoundError: No job has this id (any more).
        """
        log, failures, answered_s = EventLog(after), 0, time.monotonic()
        asked = Request("GET", self._addresses.of(job, "events"), {"previews": str(previews).lower()})
        while True:
            failure: ServiceError | None = None
            try:
                with closing(self._one_connection(asked, log, silence_s)) as connection:
                    for event in connection:
                        answered_s = time.monotonic()
                        if event is not None:
                            failures = 0
                            yield event
                            if event.is_terminal:
                                return
            except EndOfEvents:
                return
            except ServiceError as error:
                failure = error
            failures += 1
            is_given_up = time.monotonic() >= answered_s + LONGEST_ABSENCE_S
            if failure is not None and (is_given_up or not is_passing(failure)):
                raise failure
            time.sleep(self._retries.backoff_s(failures))

    def _one_connection(self, asked: Request, log: EventLog, silence_s: float) -> Generator[Event | None, None, None]:
        """Give the new events of one connection, and None for every other sign of life."""
        parser = EventParser()
        arguments = asked.arguments | {"headers": log.headers, "timeout": timeouts(silence_s)}
        try:
            with self._http.stream(**arguments) as answer:
                if answer.status_code == httpx.codes.NO_CONTENT:
                    raise EndOfEvents
                if not answer.is_success:
                    answer.read()
                    raise error_of(answer)
                for line in answer.iter_lines():
                    event = parser.feed(line)
                    yield event if event is not None and log.is_new(event) else None
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error

    def wait(
        self,
        job: RemoteJob | str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[RemoteJob], None] | None = None,
    ) -> RemoteJob:
        """Poll a job until it has ended; a service that is away for up to a minute is waited for too.

        Args:
            job: The job or its id.
            timeout_s: Longest wait in seconds; None waits without end.
            on_progress: Called with the job whenever it has moved.

        Raises:
            WaitTimeoutError: The time is up.
        """
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        away_until = time.monotonic() + LONGEST_ABSENCE_S
        seen: RemoteJob | None = None
        polls = Retries(first_s=FIRST_POLL_S, longest_s=LAST_POLL_S)
        quiet = 1
        while True:
            try:
                now = RemoteJob.of(self._ask_once(Request("GET", self._addresses.of(job))).json())
            except ServiceError as error:
                if not is_passing(error) or time.monotonic() >= min(deadline, away_until):
                    raise
            else:
                away_until = time.monotonic() + LONGEST_ABSENCE_S
                if now != seen:
                    quiet, seen = 1, now
                    if on_progress is not None:
                        on_progress(now)
                if now.state.is_terminal:
                    return now
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise WaitTimeoutError(f"The job has not ended within {timeout_s:g} s; it goes on.")
            time.sleep(min(left_s, polls.backoff_s(quiet)))
            quiet += 1

    def _ask(self, request: Request) -> httpx.Response:
        sent = 1
        while isinstance(answer := self._try(request, sent), float):
            time.sleep(answer)
            sent += 1
        return answer

    def _try(self, request: Request, sent: int) -> httpx.Response | float:
        """Give the answer, or the seconds until the request may be sent again."""
        try:
            return self._ask_once(request)
        except ServiceError as error:
            pause_s = self._retries.pause_s(error, sent) if is_repeatable(request.method, request.headers) else None
            if pause_s is None:
                raise
            return pause_s

    def _ask_once(self, request: Request) -> httpx.Response:
        try:
            answer = self._http.request(**request.arguments)
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error
        if answer.is_success:
            return answer
        raise error_of(answer)
