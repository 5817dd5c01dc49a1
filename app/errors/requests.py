"""Errors of what a request brings: options, photos, masks, URLs and keys."""

from __future__ import annotations

from app.errors.base import ServiceError


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
