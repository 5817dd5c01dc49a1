"""POST /analyze: what a photo suffers from and what restoring it would take, without restoring it. Batches likewise."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from app.api.analysis_schemas import AnalysisModel, AnalysisPageModel, EntryAnalysisModel, analyses_path
from app.api.batch_body import openapi_batch, openapi_batch_form
from app.api.batch_schemas import BatchModel, EntryLinksModel, EntryPageLinksModel
from app.api.deps import Services, ServicesDep, TenantDep
from app.api.option_docs import openapi_form, openapi_headers, openapi_object, openapi_parameters
from app.api.prefer import preferred_wait_s, prefers_async
from app.api.routes.batch import MOST_ENTRIES, BatchDep, accept_batch
from app.api.schemas import POLL_AFTER_S, JobErrorModel, JobModel, job_model, job_path
from app.api.submit import final_answer, submit_photo, wait_for_end
from app.api.task import ANALYSIS
from app.errors import JobNotFoundError, ResultGoneError, ResultNotReadyError
from app.jobs.batch import EntryView
from app.jobs.job import ANALYZE, JobState
from app.metrics import record_submitted

router = APIRouter(tags=["analyze"])

WAIT_S = 30
"""Time for which a request waits for its analysis when it does not say otherwise, in seconds."""

MOST_READ = 100
_READS_AT_ONCE = 8
_PHOTO = {"schema": {"type": "string", "format": "binary", "contentMediaType": "image/*"}}


def _only(schema: dict[str, Any], *more: str) -> dict[str, Any]:
    """Take away the properties that an analysis does not take."""
    kept = {name: value for name, value in schema["properties"].items() if name in (*ANALYSIS.options, *more)}
    return schema | {"properties": kept}


def _batch_body() -> dict[str, Any]:
    schema = openapi_batch(MOST_ENTRIES)
    properties = dict(schema["properties"])
    url, entry = properties["entries"]["items"]["anyOf"]
    properties["entries"] = properties["entries"] | {"items": {"anyOf": [url, _only(entry, "image_url")]}}
    properties["options"] = _only(properties["options"])
    return schema | {"properties": properties}


_PARAMETERS = [item for item in openapi_parameters() if item["name"] in ANALYSIS.options]
_HEADERS = openapi_headers()


@router.post(
    "/analyze",
    response_model=AnalysisModel,
    responses={
        200: {"description": "The analysis."},
        202: {"model": JobModel, "description": "It takes longer; the job's result will be the analysis."},
    },
    openapi_extra={
        "parameters": [*_PARAMETERS, *_HEADERS],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _only(openapi_form(), "image")},
                "image/*": _PHOTO,
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": _only(openapi_object(), "image_url")},
            },
        },
    },
)
async def analyze(request: Request, services: ServicesDep, tenant: TenantDep) -> Response:
    """Say what a photo shows, what is wrong with it, and what restoring it would take.

    Waits for up to 30 seconds; `Prefer: wait=N` says for how long else, `Prefer: respond-async` not to.
    """
    job, is_new = await submit_photo(request, services, tenant, ANALYSIS)
    if is_new:
        record_submitted(job.priority, job.input_bytes, job.options.model or services.model_names[0])
    path = job_path(request, job.id)
    headers = {"Location": path, "X-Job-Id": job.id, "Link": f'<{path}>; rel="monitor"'}
    if not is_new:
        headers["Idempotent-Replayed"] = "true"
    preferences, longest_s = request.headers.getlist("prefer"), services.settings.max_wait_s
    wanted_s = preferred_wait_s(preferences, longest_s)
    applied = ["respond-async"] if prefers_async(preferences) else []
    applied += [] if wanted_s is None else [f"wait={wanted_s}"]
    wait_s = wanted_s if applied else int(min(WAIT_S, longest_s))
    if wait_s is not None:
        job = await wait_for_end(request, services, job, wait_s)
        if job.state.is_terminal:
            kept = {} if wanted_s is None else {"Preference-Applied": f"wait={wanted_s}"}
            answer = await final_answer(request, services, job, headers | kept)
            if answer is not None:
                return answer
    if applied:
        headers["Preference-Applied"] = ", ".join(applied)
    headers["Retry-After"] = str(POLL_AFTER_S)
    return JSONResponse(job_model(request, job).model_dump(mode="json"), 202, headers=headers)


@router.post(
    "/analyze/batch",
    status_code=202,
    response_model=BatchModel,
    responses={202: {"description": "The batch was accepted; its `links.analyses` will have one analysis per photo."}},
    openapi_extra={
        "parameters": [*_PARAMETERS, *(item for item in _HEADERS if item["name"] != "Prefer")],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _batch_body()},
                "multipart/form-data": {"schema": _only(openapi_batch_form(MOST_ENTRIES), "image")},
            },
        },
    },
)
async def analyze_batch(request: Request, services: ServicesDep, tenant: TenantDep) -> Response:
    """Accept many photos to look at. One that is refused does not harm the others."""
    return await accept_batch(request, services, tenant, ANALYSIS)


@router.get("/batches/{batch_id}/analyses", response_model=AnalysisPageModel)
async def get_analyses(
    request: Request,
    response: Response,
    services: ServicesDep,
    batch: BatchDep,
    start: Annotated[int, Query(ge=0, le=MOST_ENTRIES, description="Index of the first photo.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_READ, description="Most photos.")] = MOST_READ,
) -> AnalysisPageModel:
    """Give what is known of the photos of a batch that was sent to `POST /analyze/batch`, in their order."""
    places = asyncio.Semaphore(_READS_AT_ONCE)

    async def read(entry: EntryView) -> EntryAnalysisModel:
        async with places:
            return await _read(request, services, entry)

    found = await asyncio.gather(*(read(entry) for entry in batch.entries[start : start + limit]))
    response.headers["Cache-Control"] = "no-store"
    following = analyses_path(request, batch, start, limit)
    if following is not None:
        response.headers["Link"] = f'<{following}>; rel="next"'
    return AnalysisPageModel(entries=list(found), links=EntryPageLinksModel(next=following))


async def _read(request: Request, services: Services, entry: EntryView) -> EntryAnalysisModel:
    analysis, error = None, None
    if entry.error is not None:
        error = JobErrorModel(code=entry.error[0], detail=entry.error[1])
    elif entry.job_id is not None and entry.state in (JobState.SUCCEEDED.value, JobState.FAILED.value):
        try:
            job = await services.queue.get(entry.job_id)
            if job.state is JobState.FAILED and job.error_code is not None:
                error = JobErrorModel(code=job.error_code, detail=job.error_detail)
            elif job.state is JobState.SUCCEEDED and job.options.task == ANALYZE:
                analysis = _analysis_of(await services.queue.result(job.id))
        except (JobNotFoundError, ResultGoneError, ResultNotReadyError) as gone:  # deleted a moment ago
            error = JobErrorModel(code=gone.code, detail=gone.detail)
    return EntryAnalysisModel(
        index=entry.index,
        state=entry.state,
        job=entry.job_id,
        analysis=analysis,
        error=error,
        links=EntryLinksModel(job=None if entry.job_id is None else job_path(request, entry.job_id)),
    )


def _analysis_of(document: bytes) -> AnalysisModel:
    """Read what a worker wrote.

    Raises:
        ResultGoneError: It is of another form.
    """
    try:
        return AnalysisModel.model_validate_json(document)
    except ValidationError:
        raise ResultGoneError(
            "The analysis was written by another release of the service and cannot be read; send the photo again."
        ) from None
