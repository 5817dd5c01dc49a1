"""What may go wrong on the way to a service, and its problem documents as errors."""

from __future__ import annotations

from typing import ClassVar

import httpx

from app import errors
from app.access import errors as access_errors
from app.errors import (
    JobCanceledError,
    JobFailedError,
    NotAcceptableError,
    ResultNotReadyError,
    ServiceError,
    UnknownModelError,
)
from app.jobs.job import JobState


class ServiceUnreachableError(ServiceError):
    """Nothing answers at the service's address, or the connection broke."""

    code = "service_unreachable"
    status = 503
    title = "The service cannot be reached"
    retryable = True
    default_retry_after_s = 1.0


class WaitTimeoutError(ServiceError):
    """The job has not ended in the time that the caller wanted to wait; it goes on."""

    code = "wait_timeout"
    status = 504
    title = "The job takes longer than the caller waits"
    retryable = True


class RemoteError(ServiceError):
    """An answer that this client has no class for.

    Args:
        detail: What the service said.
        remote_status: HTTP status of the answer.
        remote_code: Code in the problem document, or None if there was none.
    """

    code: ClassVar[str] = "remote_error"
    title: ClassVar[str] = "The service answered with an error"

    def __init__(self, detail: str, *, remote_status: int, remote_code: str | None) -> None:
        super().__init__(detail)
        self.remote_status = remote_status
        self.remote_code = remote_code


def error_of(answer: httpx.Response) -> ServiceError:
    """Give the error that an answer describes."""
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    code = problem.get("code")
    detail = str(problem.get("detail") or f"{answer.request.url} answered {answer.status_code}.")
    header = answer.headers.get("retry-after", "")
    retry_after_s = float(header) if header.isdecimal() else None
    if code == ResultNotReadyError.code:
        return ResultNotReadyError(str(problem.get("state", "unknown")), detail, retry_after_s=retry_after_s)
    if code in (UnknownModelError.code, NotAcceptableError.code):
        lacking = UnknownModelError if code == UnknownModelError.code else NotAcceptableError
        return lacking(detail, available=tuple(problem.get("available", ())))
    if code == JobFailedError.code:
        return JobFailedError(detail, error_code=problem.get("error_code"))
    kind = _known_errors().get(str(code))
    if kind is None:
        return RemoteError(detail, remote_status=answer.status_code, remote_code=code)
    return kind(detail, retry_after_s=retry_after_s)


def _known_errors() -> dict[str, type[ServiceError]]:
    """Give the public errors by code, without the classes that other modules derive from them."""
    named = [*vars(errors).values(), *vars(access_errors).values()]
    kinds = (kind for kind in named if isinstance(kind, type) and issubclass(kind, ServiceError))
    return {kind.code: kind for kind in kinds}


def unreachable(base_url: httpx.URL, error: httpx.TransportError) -> ServiceUnreachableError:
    """Give the error for a request that got no answer, or half of one."""
    return ServiceUnreachableError(f"{base_url} does not answer ({type(error).__name__}: {error}).")


def status_of(error: ServiceError) -> int:
    """Give the HTTP status that came with an error."""
    return error.remote_status if isinstance(error, RemoteError) else error.status


def failure_of(state: JobState, code: str | None, detail: str | None) -> ServiceError | None:
    """Give the error of a job that has ended without a result, or None."""
    if state is JobState.FAILED:
        return JobFailedError(detail or "The service gave no reason.", error_code=code)
    if state is JobState.CANCELED:
        return JobCanceledError("The job was canceled, so it has no result.")
    return None
