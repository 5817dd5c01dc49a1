"""What the routes share: made when the app starts, handed to them as dependencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import anyio
from anyio import to_thread
from fastapi import Depends, Request

from app.access.control import AccessControl
from app.access.keys import DEFAULT_TENANT
from app.api.budget import UploadBudget
from app.api.streaming import EventStreams
from app.fetch.fetcher import FetchPolicy, ImageFetcher
from app.images import ImageInfo, ImageLimits, check, check_quickly
from app.jobs.queue import JobQueue
from app.settings import Settings
from app.storage.buckets import BucketPolicy, CallerBuckets

_CHECKS_AT_ONCE = 2


@dataclass(frozen=True)
class Services:
    """The parts of a running API process.

    Attributes:
        settings: Settings of the process.
        queue: The job queue.
        limits: Bounds of uploads.
        uploads: Bounds the bytes of the uploads in memory.
        batch_uploads: The part of that for batches, so that they leave some to requests that somebody waits for.
        checks: Bounds how many uploads are decoded at a time; each may need hundreds of megabytes for a moment.
        streams: The open streams of events.
        fetcher: Fetches photos that are given by URL.
        buckets: Reads photos in callers' buckets.
        access: Who may do what.
    """

    settings: Settings
    queue: JobQueue
    limits: ImageLimits
    uploads: UploadBudget
    checks: anyio.CapacityLimiter
    streams: EventStreams
    fetcher: ImageFetcher
    access: AccessControl
    batch_uploads: UploadBudget
    buckets: CallerBuckets

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the models that jobs may name; the first is for jobs that name none."""
        return tuple(model.name for model in self.settings.served_models)

    async def check(self, data: bytes) -> ImageInfo:
        """Prove that an upload can be decoded; in a thread, if that takes long.

        Raises:
            ServiceError: As `app.images.check`.
        """
        info = check_quickly(data, self.limits)
        if info is not None:
            return info
        return await to_thread.run_sync(check, data, self.limits, limiter=self.checks)


def make_services(
    settings: Settings, queue: JobQueue, fetcher: ImageFetcher | None = None, buckets: CallerBuckets | None = None
) -> Services:
    """Put the parts together; must run inside the event loop.

    Args:
        settings: Settings of the process.
        queue: The job queue.
        fetcher: Fetches photos; None makes one by the settings.
        buckets: What callers have; None makes it by the settings.
    """
    uploads = UploadBudget(settings.upload_memory_bytes)
    checks = anyio.CapacityLimiter(_CHECKS_AT_ONCE)
    streams = EventStreams(settings.max_event_streams)
    fetcher = fetcher or ImageFetcher(FetchPolicy.of(settings))
    access = AccessControl.of(settings)
    batch_uploads = UploadBudget(settings.upload_memory_bytes // 2, whole=uploads)
    buckets = buckets or CallerBuckets(BucketPolicy.of(settings))
    limits = ImageLimits.of(settings)
    return Services(settings, queue, limits, uploads, checks, streams, fetcher, access, batch_uploads, buckets)


# Both are asynchronous without need: FastAPI calls plain functions in threads, which costs more than they do.
async def get_services(request: Request) -> Services:
    """Give the parts of the process that answers this request."""
    services: Services = request.app.state.services
    return services


async def get_tenant(request: Request) -> str:
    """Give the tenant on whose behalf a request comes."""
    tenant: str = getattr(request.state, "tenant", DEFAULT_TENANT)
    return tenant


def traceparent_of(request: Request) -> str | None:
    """Give the trace that a request belongs to, or None."""
    traceparent: str | None = getattr(request.state, "traceparent", None)
    return traceparent


TenantDep = Annotated[str, Depends(get_tenant)]
ServicesDep = Annotated[Services, Depends(get_services)]
