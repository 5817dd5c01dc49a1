"""POST /restore: a photo in, a job or (with Prefer: wait) the restored photo out."""

from __future__ import annotations

import asyncio
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from app.api.accept import fetch_parts, make_job
from app.api.access import standing_of
from app.api.deps import Services, ServicesDep, TenantDep, traceparent_of
from app.api.idempotency import fingerprint, read_key, submission_parts
from app.api.options import (
    check_model,
    openapi_form,
    openapi_headers,
    openapi_object,
    openapi_parameters,
    parse_submission,
)
from app.api.outputs import check_outputs
from app.api.prefer import preferred_wait_s, prefers_async
from app.api.problems import MEDIA_TYPE, Problem, error_response
from app.api.results import failure_status, missing_result_error, result_response
from app.api.schemas import POLL_AFTER_S, JobModel, job_model, job_path
from app.api.upload import read_upload
from app.api.webhook_options import check_webhook
from app.errors import JobFailedError, QueueUnavailableError
from app.jobs.idempotency import KeyUse
from app.jobs.job import Job
from app.metrics import record_submitted

router = APIRouter(tags=["restore"])

_PROBLEM: dict[str, Any] = {"model": Problem, "content": {MEDIA_TYPE: {}}}
_PHOTO = {"schema": {"type": "string", "format": "binary", "contentMediaType": "image/*"}}


@router.post(
    "/restore",
    status_code=202,
    response_model=JobModel,
    responses={
        200: {
            "description": "The restored photo (with Prefer: wait, if it was ready in time).",
            "content": {"image/*": _PHOTO},
        },
        202: {"description": "The job was accepted; Location has its address."},
        400: _PROBLEM | {"description": "The request cannot be understood."},
        409: _PROBLEM | {"description": "The first request with this Idempotency-Key is still being accepted."},
        413: _PROBLEM | {"description": "Too many bytes or pixels."},
        415: _PROBLEM | {"description": "Not a photo in a supported format."},
        422: _PROBLEM
        | {
            "description": "A damaged or animated photo, an option that is not valid, an unknown model, a URL that is "
            "not fetched or gives no photo, or an Idempotency-Key of another request."
        },
        503: _PROBLEM | {"description": "Too many uploads, or the queue is full or not available; see Retry-After."},
    },
    openapi_extra={
        "parameters": [*openapi_parameters(), *openapi_headers()],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": openapi_form()},
                "image/*": _PHOTO,
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": openapi_object()},
            },
        },
    },
)
async def restore(request: Request, services: ServicesDep, tenant: TenantDep) -> Response:
    """Accept a photo for restoration."""
    job, is_new = await _submit(request, services, tenant)
    if is_new:
        record_submitted(job.priority, job.input_bytes, job.options.model or services.model_names[0])
    path = job_path(request, job.id)
    headers = {"Location": path, "X-Job-Id": job.id, "Link": f'<{path}>; rel="monitor"'}
    if not is_new:
        headers["Idempotent-Replayed"] = "true"
    preferences = request.headers.getlist("prefer")
    applied = ["respond-async"] if prefers_async(preferences) else []
    wait_s = preferred_wait_s(preferences, services.settings.max_wait_s)
    if wait_s is not None:
        applied.append(f"wait={wait_s}")
        job = await _wait(request, services, job, wait_s)
        if job.state.is_terminal:
            answer = await _final_answer(request, services, job, headers | {"Preference-Applied": f"wait={wait_s}"})
            if answer is not None:
                return answer
    if applied:
        headers["Preference-Applied"] = ", ".join(applied)
    headers["Retry-After"] = str(POLL_AFTER_S)
    return JSONResponse(job_model(request, job).model_dump(mode="json"), 202, headers=headers)


async def _submit(request: Request, services: Services, tenant: str) -> tuple[Job, bool]:
    """Read, check and hand in the upload; nothing holds its bytes afterwards, however long the caller then waits.

    Returns:
        The job, and whether it is a new one.
    """
    key = read_key(request.headers.getlist("idempotency-key"))
    with services.uploads.share() as share:
        settings = services.settings
        upload = await read_upload(request, settings.max_upload_bytes, share, settings.upload_timeout_s)
        submission = parse_submission(request.query_params.multi_items(), upload.fields)
        check_model(submission.options.model, services.model_names)
        check_webhook(submission.webhook, services.fetcher.pinned)
        check_outputs(services.buckets, tenant, [submission.options])
        use = None
        if key is not None:
            # In a thread: the digest of a large photo takes long, and this loop answers everybody.
            parts = (submission_parts(submission), upload.image, upload.mask)
            asked = await to_thread.run_sync(fingerprint, "/restore", *parts)
            use = KeyUse.of(tenant, key, asked)
        async with services.queue.idempotency.held(use) as earlier:
            if earlier is not None:
                return await services.queue.get(earlier), False
            image, mask = await fetch_parts(services, tenant, upload, share)
            job = await make_job(services, tenant, submission, image, mask, traceparent=traceparent_of(request))
            async with services.access.limiter.charged(tenant, job.width * job.height / 1e6, standing_of(request)):
                return await services.queue.submit(job, image, mask, use), True


async def _wait(request: Request, services: Services, job: Job, wait_s: float) -> Job:
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


def _see_error(task: asyncio.Task[Any]) -> None:
    """Look at the error of a task that nobody waits for any more, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _final_answer(request: Request, services: Services, job: Job, headers: dict[str, str]) -> Response | None:
    """Give the photo or the reason why there is none; None when the queue cannot be asked now."""
    del headers["Location"]  # the answer is here
    error = missing_result_error(job)
    if error is None:
        try:
            data = await services.queue.result(job.id)
        except QueueUnavailableError:
            headers["Location"] = job_path(request, job.id)
            return None
        headers["Content-Location"] = f"{job_path(request, job.id)}/result"
        return result_response(request, job, data, headers)
    status = failure_status(job.error_code) if isinstance(error, JobFailedError) else None
    response = error_response(request, error, status)
    response.headers.update(headers)
    return response
