"""Errors of the degradation package."""

from __future__ import annotations

from model.errors import ModelError


class DegradationError(ModelError, ValueError):
    """An argument that cannot be degraded with: wrong shape, range or type."""
