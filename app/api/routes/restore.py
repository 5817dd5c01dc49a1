"""POST /restore: a photo in, a job or (with Prefer: wait) the restored photo out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from app.api.deps import ServicesDep, TenantDep
from app.api.option_docs import openapi_form, openapi_headers, openapi_object, openapi_parameters
from app.api.prefer import preferred_wait_s, prefers_async
from app.api.problems import MEDIA_TYPE, Problem
from app.api.schemas import POLL_AFTER_S, JobModel, job_model, job_path
from app.api.submit import final_answer, submit_photo, wait_for_end
from app.api.task import RESTORATION
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
    job, is_new = await submit_photo(request, services, tenant, RESTORATION)
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
        job = await wait_for_end(request, services, job, wait_s)
        if job.state.is_terminal:
            answer = await final_answer(request, services, job, headers | {"Preference-Applied": f"wait={wait_s}"})
            if answer is not None:
                return answer
    if applied:
        headers["Preference-Applied"] = ", ".join(applied)
    headers["Retry-After"] = str(POLL_AFTER_S)
    return JSONResponse(job_model(request, job).model_dump(mode="json"), 202, headers=headers)
