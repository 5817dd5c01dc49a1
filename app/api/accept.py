"""From an upload to a job that may be submitted: fetched, checked, described."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from app.api.options import Submission
from app.images import check_mask_size, check_output
from app.jobs.job import Job, new_job_id
from app.storage.urls import is_object_url

if TYPE_CHECKING:
    from app.api.deps import Services
    from app.api.upload import Upload
    from app.fetch.fetcher import Room


async def fetch_parts(services: Services, tenant: str, upload: Upload, room: Room) -> tuple[bytes, bytes | None]:
    """Give the bytes of photo and mask, fetched where the upload has URLs.

    That happens before the job is accepted: what is wrong with a URL is told at once and not in a failed job, signed
    URLs need not outlive the queue, and workers need no way out to other networks.

    Raises:
        ServiceError: As `fetch_photo`.
    """
    image, mask = upload.image, upload.mask
    if isinstance(image, str):
        image = await fetch_photo(services, tenant, image, room)
    if isinstance(mask, str):
        mask = await fetch_photo(services, tenant, mask, room)
    return image, mask


async def fetch_photo(services: Services, tenant: str, url: str, room: Room) -> bytes:
    """Give the bytes at a URL: from the web, or from a bucket that this caller may read.

    Raises:
        ServiceError: As `ImageFetcher.fetch` and `CallerBuckets.fetch`.
    """
    limit = services.settings.max_upload_bytes
    if is_object_url(url):
        return await services.buckets.fetch(url, tenant, limit, room)
    return await services.fetcher.fetch(url, limit, room)


async def make_job(
    services: Services,
    tenant: str,
    submission: Submission,
    image: bytes,
    mask: bytes | None,
    *,
    job_id: str | None = None,
    batch_id: str | None = None,
    traceparent: str | None = None,
) -> Job:
    """Check photo and mask and describe the job for them.

    Args:
        services: Parts of the process.
        tenant: On whose behalf.
        submission: What is asked for; its model was checked.
        image: Bytes of the photo.
        mask: Bytes of the mask, or None.
        job_id: Id for the job; None gives a fresh one.
        batch_id: Batch that it belongs to, or None.
        traceparent: Trace that it belongs to, or None.

    Raises:
        ServiceError: They cannot be restored, or not as asked for.
    """
    info = await services.check(image)
    check_output(info.format, submission.options.format, info.width, info.height)
    if mask is not None:
        check_mask_size(await services.check(mask), info.width, info.height)
    return Job(
        id=job_id or new_job_id(),
        media_type=info.media_type,
        width=info.width,
        height=info.height,
        input_bytes=len(image),
        created_ms=int(time.time() * 1000),
        options=submission.options,
        tenant=tenant,
        priority=submission.priority,
        metadata=submission.metadata,
        batch_id=batch_id,
        webhook=submission.webhook,
        traceparent=traceparent,
    )
