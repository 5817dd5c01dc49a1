"""Every error a client of the service can meet: one tree, stable codes, no web or queue imports.

The API turns a `ServiceError` into an RFC 9457 problem document; the worker stores `code` and `detail` in the job.
Codes are part of the public interface: they are added to, never renamed.
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """Base of all errors with a public code.

    Class attributes give the defaults of a kind of error; the instance adds what happened this time.

    Args:
        detail: What went wrong here, what was expected and what to do, for people.
        retry_after_s: Seconds after which trying again makes sense; None gives the default of the class.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: bool = False
    is_lasting: bool = False
    """Whether a process that meets it when it starts would meet it again, until somebody puts something right."""
    default_retry_after_s: ClassVar[float | None] = None

    def __init__(self, detail: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.retry_after_s = retry_after_s if retry_after_s is not None else self.default_retry_after_s


class InvalidRequestError(ServiceError):
    """The request as such cannot be understood (no image field, two bodies, broken multipart)."""

    code = "invalid_request"
    status = 400
    title = "The request is not valid"


class InvalidOptionError(ServiceError):
    """An option has a value outside what is allowed."""

    code = "invalid_option"
    status = 422
    title = "An option is not valid"


class UnknownModelError(ServiceError):
    """The job names a model that this service does not have.

    Args:
        detail: What was named and what there is.
        available: Names of the models that there are.
    """

    code = "unknown_model"
    status = 422
    title = "There is no such model"

    def __init__(
        self, detail: str = "", *, available: tuple[str, ...] = (), retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.available = available


class InvalidImageError(ServiceError):
    """The bytes claim to be a photo but cannot be decoded (truncated, damaged, empty)."""

    code = "invalid_image"
    status = 422
    title = "The image cannot be read"


class EmptyUploadError(InvalidImageError):
    """The upload has zero bytes."""

    code = "empty_upload"
    title = "The upload is empty"


class AnimatedImageError(InvalidImageError):
    """The file holds several frames; the service restores single photos."""

    code = "animated_image"
    title = "Animated images are not supported"


class InvalidMaskError(InvalidImageError):
    """The mask does not fit the photo."""

    code = "invalid_mask"
    title = "The mask does not fit the photo"


class UnsupportedFormatError(ServiceError):
    """The bytes are not in a photo format that the service takes."""

    code = "unsupported_format"
    status = 415
    title = "The image format is not supported"


class UnsupportedMediaTypeError(ServiceError):
    """The request body has a content type that the service does not take."""

    code = "unsupported_media_type"
    status = 415
    title = "The content type is not supported"


class ImageTooLargeError(ServiceError):
    """The photo has more pixels or a longer side than the limits allow."""

    code = "image_too_large"
    status = 413
    title = "The image is too large"


class UploadTooLargeError(ServiceError):
    """The upload has more bytes than the limits allow."""

    code = "upload_too_large"
    status = 413
    title = "The upload is too large"


class ImageTooSmallError(ServiceError):
    """The photo has fewer pixels than the model can work on."""

    code = "image_too_small"
    status = 422
    title = "The image is too small"


class ImageUrlRefusedError(ServiceError):
    """The photo's URL is none that the service fetches: not https, with credentials, or not at a public address."""

    code = "image_url_refused"
    status = 422
    title = "The URL is not fetched"


class ImageFetchError(ServiceError):
    """The host that the photo's URL names does not give the photo.

    Args:
        detail: What happened.
        retryable: Whether the same may succeed later.
    """

    code = "image_fetch_failed"
    status = 422  # not 502: that would look like trouble of this service to whatever balances its load
    title = "The image cannot be fetched"

    def __init__(self, detail: str = "", *, retryable: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.retryable = retryable


class IdempotencyKeyReusedError(ServiceError):
    """An Idempotency-Key came with another request than the first time."""

    code = "idempotency_key_reused"
    status = 422
    title = "The idempotency key belongs to another request"


class IdempotencyInProgressError(ServiceError):
    """A request with the same Idempotency-Key is being accepted at this moment."""

    code = "idempotency_in_progress"
    status = 409
    title = "The first request with this key is still being accepted"
    retryable = True
    default_retry_after_s = 1.0


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


class QueueFullError(ServiceError):
    """The number of waiting jobs, or the memory they fill, has reached its bound."""

    code = "queue_full"
    status = 503
    title = "Too many jobs are waiting"
    retryable = True
    default_retry_after_s = 5.0


class UploadsBusyError(ServiceError):
    """Other uploads fill the memory that there is for uploads."""

    code = "uploads_busy"
    status = 503
    title = "Too many uploads at a time"
    retryable = True
    default_retry_after_s = 2.0


class TooManyStreamsError(ServiceError):
    """As many streams of events are open as the process allows."""

    code = "too_many_streams"
    status = 503
    title = "Too many streams of events are open"
    retryable = True
    default_retry_after_s = 5.0


class QueueUnavailableError(ServiceError):
    """The queue (Redis) cannot be reached or refuses to work; accepted jobs are kept."""

    code = "queue_unavailable"
    status = 503
    title = "The job queue is not available"
    retryable = True
    default_retry_after_s = 2.0


class QueueMemoryError(QueueUnavailableError):
    """The queue (Redis) is at its memory limit; accepted jobs are kept, and memory comes free as they end."""

    code = "queue_out_of_memory"
    title = "The job queue has no memory left"


class WorkerUnavailableError(ServiceError):
    """No worker is ready to take jobs."""

    code = "worker_unavailable"
    status = 503
    title = "No worker is ready"
    retryable = True
    default_retry_after_s = 5.0


class RestorationFailedError(ServiceError):
    """The model could not restore this photo."""

    code = "restoration_failed"
    status = 500
    title = "The restoration failed"


class NonFiniteOutputError(RestorationFailedError):
    """The network gave infinities or NaN for this photo, in full precision too."""

    code = "non_finite_output"
    title = "The model gave no valid image"


class DeviceMemoryError(ServiceError):
    """The device has not enough memory for this photo, even alone."""

    code = "device_out_of_memory"
    status = 503
    title = "Not enough memory on the device"
    retryable = True
    default_retry_after_s = 10.0


class DeadlineExceededError(ServiceError):
    """The job did not begin, or was not done, within the time that its caller gave it."""

    code = "deadline_exceeded"
    status = 504
    title = "The job was not done in time"


class ModelUnavailableError(ServiceError):
    """The worker that took the job does not have the model it names: API and workers are not set up alike."""

    code = "model_unavailable"
    status = 503
    title = "The worker does not have this model"


class InputLostError(ServiceError):
    """The uploaded photo of a job is no longer stored."""

    code = "input_lost"
    status = 500
    title = "The uploaded photo is lost"


class WorkerLostError(ServiceError):
    """Every worker that took the job disappeared before finishing it."""

    code = "worker_lost"
    status = 500
    title = "The workers of this job were lost"


class DeviceUnavailableError(ServiceError):
    """A worker was told to run on a device that is not there."""

    code = "device_unavailable"
    status = 503
    title = "The device is not there"
    is_lasting = True


class EmbeddedRedisError(ServiceError):
    """The embedded Redis server cannot be started or has stopped.

    Args:
        detail: What happened.
        is_lasting: Whether it would happen again at the next start.
    """

    code = "embedded_redis"
    status = 503
    title = "The embedded Redis server is not running"

    def __init__(self, detail: str = "", *, is_lasting: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.is_lasting = is_lasting


class UnusableRedisError(ServiceError):
    """The Redis server that the service was pointed at can never serve: too old, or an address that means nothing."""

    code = "redis_unusable"
    status = 503
    title = "The Redis server cannot be used"
    is_lasting = True
