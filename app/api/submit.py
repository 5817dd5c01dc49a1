"""From the request to a job, and from the job's end to the answer of a request that waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from app.api.accept import fetch_parts, make_job
from app.api.access import standing_of
from app.api.deps import Services, traceparent_of
from app.api.idempotency import fingerprint, read_key, submission_parts
from app.api.options import check_model, parse_submission
from app.api.outputs import check_outputs
from app.api.problems import error_response
from app.api.results import failure_status, missing_result_error, result_response
from app.api.schemas import job_path
from app.api.upload import read_upload
from app.api.webhook_options import check_webhook
from app.errors import JobFailedError, QueueUnavailableError
from app.jobs.idempotency import KeyUse

if TYPE_CHECKING:
    from fastapi import Request, Response

    from app.api.task import Task
    from app.jobs.job import Job


async def submit_photo(request: Request, services: Services, tenant: str, task: Task) -> tuple[Job, bool]:
    """Read, check and hand in the upload; nothing holds its bytes afterwards, however long the caller then waits.

    Returns:
        The job, and whether it is a new one.
    """
    key = read_key(request.headers.getlist("idempotency-key"))
    with services.uploads.share() as share:
        settings = services.settings
        upload = await read_upload(request, settings.max_upload_bytes, share, settings.upload_timeout_s)
        query = request.query_params.multi_items()
        task.check(upload, query)
        submission = task.of_submission(parse_submission(query, upload.fields))
        check_model(submission.options.model, services.model_names)
        check_webhook(submission.webhook, services.fetcher.pinned)
        check_outputs(services.buckets, tenant, [submission.options])
        use = None
        if key is not None:
            # In a thread: the digest of a large photo takes long, and this loop answers everybody.
            parts = (submission_parts(submission), upload.image, upload.mask)
            asked = await to_thread.run_sync(fingerprint, task.route, *parts)
            use = KeyUse.of(tenant, key, asked)
        async with services.queue.idempotency.held(use) as earlier:
            if earlier is not None:
                return await services.queue.get(earlier), False
            image, mask = await fetch_parts(services, tenant, upload, share)
            job = await make_job(services, tenant, submission, image, mask, traceparent=traceparent_of(request))
            async with services.access.limiter.charged(tenant, job.width * job.height / 1e6, standing_of(request)):
                return await services.queue.submit(job, image, mask, use, is_first_try=True), True


async def wait_for_end(request: Request, services: Services, job: Job, wait_s: float) -> Job:
    """Wait for the end of a job, the end of the time, or the caller's leaving; the job goes on in any case."""
    waiting = asyncio.create_task(services.queue.wait(job.id, wait_s))
    leaving = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else job
    except QueueUnavailableError:
        return job  # it was accepted, and the answer that says so is worth more than an error
    finally:
        for task in (waiting, leaving):
            task.add_done_callback(_see_error)
            task.cancel()


async def final_answer(request: Request, services: Services, job: Job, headers: dict[str, str]) -> Response | None:
    """Give the result or the reason why there is none; None when the queue cannot be asked now.

    Args:
        request: The request that is answered.
        services: Parts of the process.
        job: A job that has ended.
        headers: Headers of the answer; loses `Location`, because the answer is here.
    """
    del headers["Location"]
    error = missing_result_error(job)
    if error is None:
        try:
            data = await services.queue.result(job.id)
        except QueueUnavailableError:
            headers["Location"] = job_path(request, job.id)
            return None
        headers["Content-Location"] = f"{job_path(request, job.id)}/result"
        return result_response(job, data, headers)
    status = failure_status(job.error_code) if isinstance(error, JobFailedError) else None
    response = error_response(request, error, status)
    response.headers.update(headers)
    return response


def _see_error(task: asyncio.Task[Any]) -> None:
    """Look at the error of a task that nobody waits for any more, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
