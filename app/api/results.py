"""Answers that hold a restored photo, and the errors of jobs that will never have one."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from app.errors import JobCanceledError, JobFailedError, ResultGoneError, ResultNotReadyError, ServiceError
from app.images import FORMATS
from app.jobs.job import Job, JobState

_EXTENSIONS = {form.media_type: form.extension for form in FORMATS.values()}


def missing_result_error(job: Job) -> ServiceError | None:
    """Give the error that says why there is no result, or None for a job that succeeded."""
    if job.state is JobState.SUCCEEDED:
        return None
    if job.state is JobState.FAILED:
        detail = job.error_detail or "The worker gave no reason."
        return JobFailedError(detail, error_code=job.error_code)
    if job.state is JobState.CANCELED:
        return JobCanceledError("The job was canceled, so it has no result.")
    if job.state is JobState.EXPIRED:
        return ResultGoneError("The result was deleted after its time; submit the photo again.")
    return ResultNotReadyError(job.state.value)


def failure_status(error_code: str | None) -> int:
    """Give the status that fits a failed job when its answer is the restored photo itself."""
    known = _statuses(ServiceError)
    return known.get(error_code or "", 500)


def result_headers(job: Job) -> dict[str, str]:
    """Give the headers that describe a result; it never changes, so that the job's attempt names it."""
    extension = _EXTENSIONS.get(job.result_media_type or "", "bin")
    return {
        "ETag": f'"{job.id}-{job.attempt}"',
        "Cache-Control": "private, max-age=3600, immutable",
        "Content-Disposition": f'inline; filename="restored-{job.id[:8]}.{extension}"',
        "X-Job-Id": job.id,
    }


def result_response(request: Request, job: Job, data: bytes, headers: dict[str, str]) -> Response:
    """Give a result as a response, or 304 if the caller has it already."""
    described = result_headers(job) | headers
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if described["ETag"] in tags:
        return Response(status_code=304, headers={name: described[name] for name in ("ETag", "Cache-Control")})
    return Response(data, headers=described, media_type=job.result_media_type or "application/octet-stream")


def _statuses(base: type[ServiceError]) -> dict[str, int]:
    found = {base.code: base.status}
    for kind in base.__subclasses__():
        found |= _statuses(kind)
    return found
