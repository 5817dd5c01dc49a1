"""Errors of storage outside Redis."""

from __future__ import annotations

from app.errors import QueueUnavailableError, ServiceError


class StorageUnavailableError(QueueUnavailableError):
    """The store of photos cannot be reached or refuses to work; accepted jobs are kept.

    A kind of `QueueUnavailableError`: whoever waits for the queue to come back waits for its photos likewise.
    """

    code = "storage_unavailable"
    title = "The store of photos is not available"


class StorageSetupError(ServiceError):
    """The process cannot use the storage that its settings name."""

    code = "storage_setup"
    status = 503
    title = "The storage cannot be used as it is set up"
    is_lasting = True


class OutputError(ServiceError):
    """Base of what can be wrong with writing a result where its caller wants it."""


class OutputUrlRefusedError(OutputError):
    """The address for the result is none that this service may write to for this caller."""

    code = "output_url_refused"
    status = 422
    title = "The result is not delivered there"


class OutputDeliveryError(OutputError):
    """The result could not be written to the bucket that the job names."""

    code = "output_delivery_failed"
    status = 502
    title = "The result could not be delivered"
