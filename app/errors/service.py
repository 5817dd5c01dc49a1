"""Errors of the service itself: no room, no queue, no worker, a restoration that failed, parts that cannot start."""

from __future__ import annotations

from app.errors.base import ServiceError


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
