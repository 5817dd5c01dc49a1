"""What the model and torch raise, as the service's own errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from app.errors import DeviceMemoryError, NonFiniteOutputError, RestorationFailedError, ServiceError
from model.errors import ModelError, NonFiniteError

logger = logging.getLogger(__name__)


def to_service_error(error: Exception) -> ServiceError:
    """Give the public error for whatever the model, torch or the image code raised; words of unknown ones stay here."""
    if isinstance(error, ServiceError):
        return error
    if is_out_of_memory(error):
        return DeviceMemoryError(
            "The photo needs more memory than the device has free. Try later, or send a smaller one."
        )
    if isinstance(error, NonFiniteError):
        return NonFiniteOutputError("The network gave no finite values for this photo, in full precision either.")
    if isinstance(error, ModelError):
        return RestorationFailedError(str(error))
    logger.error("unexpected error in the model", exc_info=error)
    return RestorationFailedError("An unexpected error stopped the restoration; the worker's log has the details.")


@contextmanager
def as_service_errors() -> Iterator[None]:
    """Turn whatever is raised inside into the public error for it.

    Raises:
        ServiceError: As `to_service_error`.
    """
    try:
        yield
    except Exception as error:
        raise to_service_error(error) from error


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error means that the device, or the machine, has no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU allocator has no error type of its own.
    words = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def empty_device_cache() -> None:
    """Give memory that torch keeps for later back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
