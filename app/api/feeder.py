"""Makes jobs of the entries of batches, in every API process, little by little.

A batch is accepted at once and its photos are fetched afterwards. That is done here and not by the workers, which so
need no way out to other networks and get only photos that were checked. It is done by whichever API process has time:
entries wait in Redis, so a process that dies or is replaced loses nothing. And it is done only as fast as
jobs are worked off, because a photo waits more cheaply at its URL than in Redis' memory: while there is no room for
more, nothing is fetched, and photos that are in that memory already become jobs all the same.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import anyio

from app.api.accept import fetch_photo, make_job
from app.api.budget import UploadBudget, UploadShare
from app.api.deps import Services
from app.api.feed_pace import FeedPace
from app.api.options import Submission
from app.errors import (
    BatchNotFoundError,
    InputLostError,
    QueueFullError,
    QueueUnavailableError,
    ServiceError,
    UploadsBusyError,
)
from app.jobs.batch import TakenEntry
from app.metrics import record_submitted

logger = logging.getLogger("app.api")

MOST_TRIES = 3
_IDLE_S = 1.0
_STOP_S = 0.5
_NO_ROOM_S = 2.0  # before an entry is tried again for which queue or memory had no room
_RETRY_S = 10.0  # before the second try of an entry, and twice as long before each further one


class BatchFeeder:
    """Feeds the queue from batches.

    Args:
        services: Parts of the process. Memory, checks and fetches are bounded apart from those of requests, which
            somebody waits for.
    """

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._services = replace(
            services,
            uploads=UploadBudget(settings.upload_memory_bytes // 4),
            checks=anyio.CapacityLimiter(1),
            fetcher=services.fetcher.apart(),
            buckets=services.buckets.apart(),
        )
        self._batches = services.queue.batches
        self._pace = FeedPace(settings.fetches_at_once)
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._is_stopping = False

    def look(self) -> None:
        """Say that there may be something to do."""
        self._news.set()

    def stop(self) -> None:
        """Make `run` end soon; what is under way is left to another process."""
        self._is_stopping = True
        self._news.set()

    async def run(self) -> None:
        """Feed until stopped."""
        try:
            while not self._is_stopping:
                self._news.clear()
                try:
                    await self._start_some()
                except QueueUnavailableError:
                    pass  # requests tell, and the queue comes back
                except Exception:
                    logger.exception("batches cannot be looked at")
                with anyio.move_on_after(_IDLE_S):
                    await self._news.wait()
        finally:
            # More than once, because a timeout inside may swallow a cancellation before Python 3.12.
            while tasks := list(self._tasks):
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=_STOP_S)

    async def _start_some(self) -> None:
        free = self._pace.places - len(self._tasks)
        ahead = self._services.settings.batch_ahead - len(self._tasks)
        if free <= 0 or ahead <= 0:
            return
        for taken in await self._batches.take(free, ahead=ahead, may_fetch=self._pace.may_fetch):
            task = asyncio.create_task(self._feed(taken))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._news.set()
        if not task.cancelled() and task.exception() is not None:
            # Redis was away in the middle: the entry comes again when its lease runs out.
            logger.warning("an entry of a batch was left for later: %s", task.exception())

    async def _feed(self, taken: TakenEntry) -> None:
        if taken.tries > MOST_TRIES:  # whoever took it before disappeared
            await self._batches.refuse(taken, ServiceError.code, "The photo could not be read in several tries.")
            return
        try:
            async with self._batches.working(taken):
                await self._submit(taken)
        except BatchNotFoundError:
            pass  # canceled in the meantime, or another process was faster
        except asyncio.CancelledError:  # this process stops; else the entry would wait for the end of its lease
            await self._batches.defer(taken, 0, counts=False)
            raise
        except (QueueFullError, QueueUnavailableError, UploadsBusyError) as error:
            if isinstance(error, UploadsBusyError):
                self._pace.was_crowded()
            elif isinstance(error, QueueFullError) and taken.entry.image_url is not None:
                self._pace.found_no_room()
            await self._batches.defer(taken, _NO_ROOM_S, counts=False)
        except ServiceError as error:
            if error.retryable and taken.tries < MOST_TRIES:
                await self._batches.defer(taken, _RETRY_S * 2 ** (taken.tries - 1), counts=True)
            else:
                await self._batches.refuse(taken, error.code, error.detail)
        except Exception:
            logger.exception("entry %d of batch %s cannot be made a job", taken.index, taken.batch_id)
            await self._batches.refuse(taken, ServiceError.code, "The service met an unexpected error.")

    async def _submit(self, taken: TakenEntry) -> None:
        services, entry = self._services, taken.entry
        with services.uploads.share() as share:
            image, mask = await self._load(taken, share)
            wanted = Submission(entry.options, "batch", entry.metadata, entry.webhook)
            ids = {"job_id": taken.job_id, "batch_id": taken.batch_id, "traceparent": entry.traceparent}
            job = await make_job(services, taken.tenant, wanted, image, mask, **ids)
            is_stored = entry.image_url is None
            async with services.access.limiter.charged(job.tenant, job.width * job.height / 1e6):
                await services.queue.submit(job, None if is_stored else image, mask, entry=taken.index)
        self._pace.went_well(was_fetched=not is_stored)
        record_submitted(job.priority, job.input_bytes, job.options.model or services.model_names[0])

    async def _load(self, taken: TakenEntry, share: UploadShare) -> tuple[bytes, bytes | None]:
        services, entry, tenant = self._services, taken.entry, taken.tenant
        if entry.image_url is not None:
            image = await fetch_photo(services, tenant, entry.image_url, share)
            return image, None if entry.mask_url is None else await fetch_photo(services, tenant, entry.mask_url, share)
        stored = await self._batches.load(taken)
        if stored is None:
            raise InputLostError("The uploaded photo is no longer stored; submit it again.")
        share.grow(len(stored))
        return stored, None
