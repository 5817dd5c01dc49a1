"""Restoring the photos of a plan, with the model in this process or, several at a time, through a service."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.commands.batch_report import Row
from app.commands.result_files import write_whole
from app.errors import (
    IdempotencyKeyReusedError,
    JobCanceledError,
    JobFailedError,
    JobNotFoundError,
    ResultGoneError,
    ServiceError,
    UnknownModelError,
)
from app.jobs.job import Finding, JobState

if TYPE_CHECKING:
    from app.client import AsyncVlmirClient, RemoteJob
    from app.commands.batch_plan import Entry
    from app.commands.photo_options import Order
    from app.worker.runner import Runner

LEAST_PROBABILITY = 0.5
"""Of damage that the report names."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_ALL_ALIKE = (401, 403, 404, 405, 429, 502, 503, 504)
"""Answers that every photo would get: it is no service, does not let us in, or is away or full beyond all patience."""


@dataclass(frozen=True)
class Listener:
    """Whom to tell how far it is.

    Attributes:
        progress: Called with a photo's name and the part of its work that is done, 0..1.
        ended: Called with the row of a photo that has ended.
    """

    progress: Callable[[str, float], None]
    ended: Callable[[Row], None]


def restore_here(runner: Runner, entries: Sequence[Entry], order: Order, listener: Listener) -> None:
    """Restore photos one after another.

    Args:
        runner: Loaded.
        entries: The photos.
        order: What is wanted of all of them.
        listener: Whom to tell.

    Raises:
        OSError: There is no room for results.
    """
    from app.worker.local import restore_locally

    for entry in entries:
        started_s = time.perf_counter()

        def note(done: int, total: int, name: str = entry.name) -> None:
            listener.progress(name, done / total)

        try:
            result = restore_locally(runner, entry.source.read_bytes(), order.options, on_progress=note)
            write_whole(entry.target, result.data)
        except (ServiceError, OSError) as error:
            listener.ended(_failed(entry, started_s, error))
        else:
            listener.ended(_succeeded(entry, started_s, result.findings, result.caption))


async def restore_there(
    client: AsyncVlmirClient, entries: Sequence[Entry], order: Order, at_once: int, listener: Listener
) -> None:
    """Restore photos through a service.

    Jobs that are under way when this is stopped go on: a later run finds them by their keys.

    Args:
        client: Of the service.
        entries: The photos.
        order: What is wanted of all of them.
        at_once: Photos that are handed in and not ended at a time.
        listener: Whom to tell.

    Raises:
        ServiceError: The service refuses all photos alike, or is away.
        OSError: There is no room for results.
    """
    left = iter(entries)
    workers = [asyncio.create_task(_work(client, left, order, listener)) for _ in range(min(at_once, len(entries)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _work(client: AsyncVlmirClient, left: Iterator[Entry], order: Order, listener: Listener) -> None:
    for entry in left:
        started_s = time.perf_counter()

        def note(job: RemoteJob, name: str = entry.name) -> None:
            listener.progress(name, job.step / job.steps_total if job.steps_total else 0.0)

        try:
            image = await asyncio.to_thread(entry.source.read_bytes)
            job, data = await _restore(client, image, order, note)
            await asyncio.to_thread(write_whole, entry.target, data)
        except (ServiceError, OSError) as error:
            if _concerns_all(error):
                raise
            listener.ended(_failed(entry, started_s, error))
        else:
            listener.ended(_succeeded(entry, started_s, job.findings, job.caption))


async def _restore(
    client: AsyncVlmirClient, image: bytes, order: Order, note: Callable[[RemoteJob], None]
) -> tuple[RemoteJob, bytes]:
    """Hand a photo in under a key of its own, so that a run that goes on finds the job of the one before.

    A job of that key whose result cannot be had (it failed then, or was deleted) is not asked again.
    """
    from app.client.errors import failure_of

    wanted = {**order.fields, "priority": "batch"}
    try:
        job = await client.submit(image, idempotency_key=_key_of(image, wanted), **wanted)
        if job.state is JobState.SUCCEEDED:
            return job, await client.result(job)
        is_lost = job.state.is_terminal
    except (IdempotencyKeyReusedError, JobNotFoundError, ResultGoneError):
        is_lost = True
    if is_lost:
        job = await client.submit(image, idempotency_key=uuid.uuid4().hex, **wanted)
    job = await client.wait(job, on_progress=note)
    failure = failure_of(job.state, job.error_code, job.error_detail)
    if failure is not None:
        raise failure
    return job, await client.result(job)


def _key_of(image: bytes, wanted: dict[str, object]) -> str:
    asked = json.dumps({name: value for name, value in wanted.items() if value is not None}, sort_keys=True)
    return hashlib.sha256(hashlib.sha256(image).digest() + asked.encode()).hexdigest()


def _succeeded(entry: Entry, started_s: float, findings: Iterable[Finding], caption: str | None) -> Row:
    seen = sorted((item for item in findings if item.probability >= LEAST_PROBABILITY), key=lambda f: -f.probability)
    return Row(
        entry.name, JobState.SUCCEEDED.value, _since(started_s), ",".join(item.kind for item in seen), caption or ""
    )


def _failed(entry: Entry, started_s: float, error: ServiceError | OSError) -> Row:
    """Give the row of a photo that could not be restored; an error that is about all results is raised again."""
    if isinstance(error, OSError):
        if error.errno in _FULL:
            raise error
        return Row(
            entry.name, JobState.FAILED.value, _since(started_s), error=f"{error.strerror}: {error.filename or ''}"
        )
    state = JobState.CANCELED if isinstance(error, JobCanceledError) else JobState.FAILED
    code = (error.error_code if isinstance(error, JobFailedError) else None) or error.code
    return Row(entry.name, state.value, _since(started_s), error=f"{code}: {error.detail}")


def _concerns_all(error: ServiceError | OSError) -> bool:
    """Say whether a service would give this answer to every photo."""
    from app.client.errors import ServiceUnreachableError, status_of

    if isinstance(error, ServiceUnreachableError | UnknownModelError):
        return True
    return (
        isinstance(error, ServiceError) and not isinstance(error, JobNotFoundError) and status_of(error) in _ALL_ALIKE
    )


def _since(started_s: float) -> str:
    return f"{time.perf_counter() - started_s:.2f}"
