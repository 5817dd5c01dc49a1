"""Failures that say nothing about a photo: an error that nobody foresaw, and a device that does not answer any more."""

from __future__ import annotations

from app.errors import RestorationFailedError


class UnexpectedError(RestorationFailedError):
    """Something broke that should not have; what exactly stays in the log. Another attempt may well succeed."""

    retryable = True


class DeviceLostError(RuntimeError):
    """The device refuses all work from now on: no photo is to blame, and only a new process can help.

    After an illegal access, an uncorrectable memory error or a lost GPU every later call of the same process fails
    too. Not a `ServiceError`: it must never become the outcome of a job, but end the process.
    """
