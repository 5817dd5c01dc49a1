"""Errors about a job, a batch or a result that a request asks for."""

from __future__ import annotations

from app.errors.base import ServiceError


class JobNotFoundError(ServiceError):
    """No job has this id, or its record was deleted after its time."""

    code = "job_not_found"
    status = 404
    title = "No such job"


class BatchNotFoundError(ServiceError):
    """No batch has this id, or its record was deleted after its time."""

    code = "batch_not_found"
    status = 404
    title = "No such batch"


class ResultNotReadyError(ServiceError):
    """The job has no result (yet).

    Args:
        state: State of the job, as its public word.
        detail: Overrides the sentence made from the state.
        retry_after_s: Seconds after which asking again makes sense.
    """

    code = "result_not_ready"
    status = 409
    title = "The result is not ready"
    retryable = True

    def __init__(self, state: str, detail: str = "", *, retry_after_s: float | None = 1.0) -> None:
        is_under_way = state in ("queued", "running")
        super().__init__(
            detail or f"The job is {state}; a result exists only once it has succeeded.",
            retry_after_s=retry_after_s if is_under_way else None,
        )
        self.state = state
        self.retryable = is_under_way


class ResultGoneError(ServiceError):
    """The job succeeded, but its result was deleted after its time to live."""

    code = "result_gone"
    status = 410
    title = "The result has expired"


class PreconditionFailedError(ServiceError):
    """The caller wants another version of a thing than there is."""

    code = "precondition_failed"
    status = 412
    title = "The result is not the one that is asked for"


class NotAcceptableError(ServiceError):
    """The caller does not take the media type that there is.

    Args:
        detail: What there is and what was asked for.
        available: Media types that there are.
    """

    code = "not_acceptable"
    status = 406
    title = "There is no result of that type"

    def __init__(
        self, detail: str = "", *, available: tuple[str, ...] = (), retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.available = available


class RangeNotSatisfiableError(ServiceError):
    """The range that was asked for lies behind the end of the result."""

    code = "range_not_satisfiable"
    status = 416
    title = "The range is not in the result"


class JobCanceledError(ServiceError):
    """The job was canceled, so it will never have a result."""

    code = "job_canceled"
    status = 409
    title = "The job was canceled"


class JobFailedError(ServiceError):
    """The job failed, so it will never have a result.

    Args:
        detail: What went wrong, as stored in the job.
        error_code: Code of the failure that the worker recorded, or None.
    """

    code = "job_failed"
    status = 409
    title = "The job failed"

    def __init__(self, detail: str = "", *, error_code: str | None = None) -> None:
        super().__init__(detail)
        self.error_code = error_code
