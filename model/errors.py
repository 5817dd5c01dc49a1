"""Errors a caller of the model may handle; each says what was got, what was expected and what to do."""

from __future__ import annotations

from typing import Any


class ModelError(Exception):
    """Base of all errors raised on purpose by `model`."""


class ConfigError(ModelError, ValueError):
    """A configuration that cannot be built: unknown key, wrong type, dimensions that do not fit."""


class CheckpointError(ModelError):
    """Weights that are missing, damaged or made for another configuration."""


class ShapeError(ModelError, ValueError):
    """A tensor whose shape or range is not what the function works on."""


class UnknownKindError(ModelError, ValueError):
    """A degradation name that is none of the ten."""


class NonFiniteError(ModelError):
    """The network gave NaN or infinity for one state; its batch mates are unharmed.

    Attributes:
        state: The restoration state whose tile failed.
    """

    def __init__(self, message: str, state: Any) -> None:
        super().__init__(message)
        self.state = state
