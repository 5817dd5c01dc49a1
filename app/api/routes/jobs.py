"""What can be asked of jobs: which there are, how far one is, its result, and to be canceled."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app.api.deps import ServicesDep, TenantDep
from app.api.listing import JobPageModel, JobQuery, decode_cursor, page_model
from app.api.problems import MEDIA_TYPE, Problem
from app.api.results import missing_result_error, redirect_to_result, signed_link, stream_result
from app.api.schemas import POLL_AFTER_S, JobModel, job_model
from app.errors import JobNotFoundError
from app.jobs.job import Job
from app.jobs.parts import unknown_job

router = APIRouter(tags=["jobs"])

_JOB_ID = re.compile(r"[0-9a-f]{32}")
_PROBLEM: dict[str, Any] = {"model": Problem, "content": {MEDIA_TYPE: {}}}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: _PROBLEM | {"description": "No job has this id."}}


def known_form(job_id: str) -> str:
    """Give a job id that could be one of ours.

    Raises:
        JobNotFoundError: It could not.
    """
    if not _JOB_ID.fullmatch(job_id):
        raise JobNotFoundError(f"No job has the id {job_id[:64]!r}; ids are 32 lower-case hex digits.")
    return job_id


async def find_job(services: ServicesDep, tenant: TenantDep, job_id: Annotated[str, Depends(known_form)]) -> Job:
    """Give a job of the tenant that asks; one of another tenant is answered like none, word for word.

    Raises:
        JobNotFoundError: The tenant has none of this id.
    """
    job = await services.queue.get(job_id)
    if job.tenant != tenant:
        raise unknown_job(job_id)
    return job


JobDep = Annotated[Job, Depends(find_job)]


@router.get(
    "/jobs",
    response_model=JobPageModel,
    responses={422: _PROBLEM | {"description": "A filter or the cursor is not valid."}},
)
async def list_jobs(
    request: Request,
    response: Response,
    services: ServicesDep,
    tenant: TenantDep,
    query: Annotated[JobQuery, Query()],
) -> JobPageModel:
    """List jobs, newest first. Jobs that come or go between two pages neither double nor hide others."""
    after = None if query.cursor is None else decode_cursor(query.cursor)
    wanted = query.as_filter(services.model_names[0])
    page = page_model(request, query, await services.queue.directory.page(tenant, wanted, query.limit, after))
    response.headers["Cache-Control"] = "no-store"
    if page.links.next is not None:
        response.headers["Link"] = f'<{page.links.next}>; rel="next"'
    return page


@router.get("/jobs/{job_id}", response_model=JobModel, responses=_NOT_FOUND)
async def get_job(request: Request, response: Response, services: ServicesDep, job: JobDep) -> JobModel:
    """Give a job as it is now."""
    response.headers["Cache-Control"] = "no-store"
    if not job.state.is_terminal:
        response.headers["Retry-After"] = str(POLL_AFTER_S)
    model = job_model(request, job, await services.queue.directory.position(job))
    model.links.result_presigned = await signed_link(job, services.queue.results, services.settings.presign_s)
    return model


@router.delete(
    "/jobs/{job_id}",
    response_model=JobModel,
    responses=_NOT_FOUND
    | {
        200: {"description": "The job after canceling."},
        202: {"description": "With `purge`: only the photos are still there, until the object store can be reached."},
        204: {"description": "With `purge`: nothing is left of the job."},
        422: _PROBLEM | {"description": "`purge` is neither true nor false."},
    },
)
async def cancel_job(
    request: Request,
    services: ServicesDep,
    job: JobDep,
    purge: Annotated[bool, Query(description="Whether to delete all that is kept of the job, too.")] = False,
) -> Any:
    """Cancel a job: at once while it waits, soon while it runs. A job that has ended stays as it is.

    With `purge=true` all that is kept of it is deleted: photo, mask, result, record and events.
    """
    if not purge:
        return job_model(request, await services.queue.cancel(job.id))
    is_gone = await services.queue.purge(job.id)
    return Response(status_code=204 if is_gone else 202, headers={"Cache-Control": "no-store"})


_CONTENT: dict[str, Any] = {
    "image/*": {},
    "application/json": {"schema": {"$ref": "#/components/schemas/AnalysisModel"}},
}
_RESULT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The restored photo; of a photo that was only looked at, the analysis.", "content": _CONTENT},
    304: {"description": "The caller has it already (If-None-Match)."},
    **_NOT_FOUND,
    406: _PROBLEM | {"description": "Accept leaves out the type of the result."},
    409: _PROBLEM | {"description": "Not ready yet (result_not_ready), failed or canceled."},
    410: _PROBLEM | {"description": "The result was deleted after its time."},
    412: _PROBLEM | {"description": "It is none that If-Match names."},
}
_RESULT_PARTS: dict[int | str, dict[str, Any]] = {
    206: {"description": "The part of it that Range names.", "content": {"image/*": {}, "application/json": {}}},
    307: {"description": "With `redirect`: where the object store has it (Location)."},
    416: _PROBLEM | {"description": "The range lies behind its end."},
}


_NOT_VALID: dict[int | str, dict[str, Any]] = {422: _PROBLEM | {"description": "`redirect` is neither true nor false."}}


@router.get("/jobs/{job_id}/result", response_class=Response, responses=_RESULT | _RESULT_PARTS | _NOT_VALID)
async def get_result(
    request: Request,
    services: ServicesDep,
    job: JobDep,
    redirect: Annotated[
        bool, Query(description="Whether to be sent to the object store, where it signs links.")
    ] = False,
) -> Response:
    """Give the restored photo, or a part of it."""
    error = missing_result_error(job)
    if error is not None:
        raise error
    results = services.queue.results
    elsewhere = await redirect_to_result(job, results, services.settings.presign_s) if redirect else None
    return elsewhere or await stream_result(request, job, results)


@router.head("/jobs/{job_id}/result", response_class=Response, responses=_RESULT)
async def head_result(request: Request, services: ServicesDep, job: JobDep) -> Response:
    """Give the headers of the restored photo."""
    return await get_result(request, services, job)
