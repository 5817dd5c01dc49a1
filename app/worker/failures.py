"""What the model and torch raise, as the service's own errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from app.errors import DeviceMemoryError, NonFiniteOutputError, RestorationFailedError, ServiceError
from app.worker.faults import DeviceLostError, UnexpectedError
from model.errors import ModelError, NonFiniteError

logger = logging.getLogger(__name__)


def to_service_error(error: Exception) -> ServiceError:
    """Give the public error for whatever the model, torch or the image code raised; words of unknown ones stay here.

    Raises:
        DeviceLostError: The error came from the device itself, which does not work any more.
    """
    if isinstance(error, DeviceLostError):
        raise error
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
    if is_device_error(error):
        raise DeviceLostError(f"the device refuses to work: {first_line(error)}") from error
    logger.error("unexpected error in the model", exc_info=error)
    return UnexpectedError("An unexpected error stopped the restoration; the worker's log has the details.")


@contextmanager
def as_service_errors() -> Iterator[None]:
    """Turn whatever is raised inside into the public error for it.

    Raises:
        ServiceError: What `to_service_error` gives.
        DeviceLostError: As `to_service_error`.
    """
    try:
        yield
    except Exception as error:
        raise to_service_error(error) from error


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error means that the device, or the machine, has no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # Neither the CPU allocator nor the libraries on a GPU have an error type of their own.
    words = (
        "not enough memory",
        "can't allocate memory",
        "out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_ALLOC_FAILED",
    )
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def is_device_error(error: Exception) -> bool:
    """Tell whether an error comes from the CUDA runtime itself, after which no later call can be trusted.

    Want of memory is none: the device goes on without that allocation.
    """
    accelerator_error = getattr(torch, "AcceleratorError", None)  # since PyTorch 2.8
    is_of_device = accelerator_error is not None and isinstance(error, accelerator_error)
    is_told = isinstance(error, RuntimeError) and "CUDA error" in str(error)
    return (is_of_device or is_told) and not is_out_of_memory(error)


def probe_device(device: torch.device) -> None:
    """Have the device add two numbers.

    Raises:
        DeviceLostError: It cannot.
    """
    try:
        total = (torch.ones(1, device=device) + 1).item()
    except Exception as error:
        if is_out_of_memory(error):  # full, but alive
            return
        raise DeviceLostError(f"{device} does not even add two numbers: {first_line(error)}") from error
    if total != 2:
        raise DeviceLostError(f"{device} adds 1 and 1 to {total}")


def first_line(error: Exception) -> str:
    """Give what an error says, without the advice that CUDA adds on further lines."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def empty_device_cache() -> None:
    """Give memory that torch keeps for later back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
