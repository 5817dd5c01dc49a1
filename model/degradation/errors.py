"""Errors of the degradation package. All are ValueErrors: the caller passed something that cannot be degraded."""

from __future__ import annotations

from collections.abc import Sequence


class DegradationError(ValueError):
    """An argument has the wrong shape, range or type."""


class UnknownKindError(DegradationError):
    """A word that names none of the ten kinds.

    Attributes:
        kind: The word as given.
    """

    def __init__(self, kind: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown degradation {kind!r}: use one of {', '.join(known)}")
        self.kind = kind
