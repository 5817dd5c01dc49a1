"""Answers that hold a restored photo, and the errors of jobs that will never have one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import anyio
from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Message, Send

from app.api.conditions import accepts, is_other, is_unchanged, wanted_range
from app.api.problems import error_response
from app.api.streaming import SEND_TIMEOUT_S
from app.errors import (
    JobCanceledError,
    JobFailedError,
    NotAcceptableError,
    PreconditionFailedError,
    QueueUnavailableError,
    RangeNotSatisfiableError,
    ResultGoneError,
    ResultNotReadyError,
    ServiceError,
)
from app.images import FORMATS
from app.jobs.job import Job, JobState
from app.jobs.results import CHUNK_BYTES, ResultReader

_EXTENSIONS = {form.media_type: form.extension for form in FORMATS.values()}


class PiecewiseResponse(StreamingResponse):
    """A response in pieces that is broken off when its caller takes none for `SEND_TIMEOUT_S`.

    Else whoever asks for many results and reads none would fill this process.
    """

    async def stream_response(self, send: Send) -> None:
        """Send it.

        Raises:
            TimeoutError: A piece was not taken in time; the server then closes the connection.
        """

        async def send_in_time(message: Message) -> None:
            with anyio.fail_after(SEND_TIMEOUT_S):
                await send(message)

        await super().stream_response(send_in_time)


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
    name = f"restored-{job.id[:8]}.{extension}" if job.options.task is None else f"{job.options.task}-{job.id[:8]}.json"
    left_s = 0 if job.expires_ms is None else max(0, job.expires_ms // 1000 - int(time.time()))
    return {
        "ETag": f'"{job.id}-{job.attempt}"',
        "Cache-Control": f"private, max-age={left_s}, immutable",
        "Content-Disposition": f'inline; filename="{name}"',
        "X-Job-Id": job.id,
    }


def result_response(job: Job, data: bytes, headers: dict[str, str]) -> Response:
    """Give a result that is at hand as the answer to the request that handed the photo in.

    If-None-Match is not looked at: it is about the path of the request, not about the result, and 304 is no answer to
    a POST.
    """
    described = result_headers(job) | headers | {"Content-Length": str(len(data))}
    return PiecewiseResponse(_pieces(data), headers=described, media_type=_media_type(job))


async def signed_link(job: Job, results: ResultReader, longest_s: int) -> str | None:
    """Give a link to the result in the object store, good no longer than the result, or None.

    Args:
        job: The job.
        results: Where results are.
        longest_s: Most seconds for which it is good; 0 gives none.
    """
    if job.state is not JobState.SUCCEEDED or job.expires_ms is None:
        return None
    seconds = min(longest_s, job.expires_ms // 1000 - int(time.time()))
    try:
        return await results.signed_url(job, seconds) if seconds > 0 else None
    except QueueUnavailableError:
        return None  # what else is known of the job is worth more than an error


async def redirect_to_result(job: Job, results: ResultReader, longest_s: int) -> Response | None:
    """Give an answer that leads to the object store, or None where there is no such link."""
    link = await signed_link(job, results, longest_s)
    if link is None:
        return None
    # Nobody may keep the answer: the link ends before the result does.
    return Response(status_code=307, headers={"Location": link, "Cache-Control": "no-store", "X-Job-Id": job.id})


async def stream_result(request: Request, job: Job, results: ResultReader) -> Response:
    """Give a result in pieces: the whole, the part that is asked for, or why there is nothing to send.

    There is the one file that the job made. It is not converted to what Accept names: that would cost this process
    the time and memory of decoding a photo, and the caller chooses the format when it hands the photo in.

    Raises:
        NotAcceptableError: The caller does not take that file's type.
        ResultGoneError: It was deleted after its time.
    """
    media_type = _media_type(job)
    wish = _list_header(request, "accept")
    if not accepts(wish, media_type):
        raise NotAcceptableError(
            f"The result is {media_type}, which {wish!r} leaves out; hand the photo in with the `format` you want.",
            available=(media_type,),
        )
    headers = result_headers(job) | {"Accept-Ranges": "bytes"}
    if is_other(_list_header(request, "if-match"), headers["ETag"]):
        detail = f"The result's tag is {headers['ETag']}, which If-Match does not name; ask without it for this one."
        response = error_response(request, PreconditionFailedError(detail))
        response.headers["ETag"] = headers["ETag"]
        return response
    if is_unchanged(_list_header(request, "if-none-match"), headers["ETag"]):
        return _not_modified(headers)
    size = await results.size(job)
    if request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(size)}, media_type=media_type)
    try:
        part = wanted_range(request.headers.get("range"), request.headers.get("if-range"), headers["ETag"], size)
    except RangeNotSatisfiableError as error:
        response = error_response(request, error)
        response.headers["Content-Range"] = f"bytes */{size}"
        return response
    start, stop = (0, size) if part is None else (part.start, part.stop)
    headers["Content-Length"] = str(stop - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    status = 200 if part is None else 206
    return PiecewiseResponse(results.read(job, start, stop), status, headers=headers, media_type=media_type)


def _list_header(request: Request, name: str) -> str | None:
    """Give the value of a header that holds a list, which may come in several lines."""
    return ",".join(request.headers.getlist(name)) or None


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


def _media_type(job: Job) -> str:
    return job.result_media_type or "application/octet-stream"


def _not_modified(headers: dict[str, str]) -> Response:
    return Response(status_code=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})


def _statuses(base: type[ServiceError]) -> dict[str, int]:
    found = {base.code: base.status}
    for kind in base.__subclasses__():
        found |= _statuses(kind)
    return found
