"""Parts of a service as processes of a test, and waiting until it is ready."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx

READY_S = 180.0
STOP_S = 60.0


@contextlib.contextmanager
def running_module(module: str, environment: dict[str, str], log: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """`python -m MODULE` for as long as the block lasts; what it prints can be read, its log goes to a file."""
    process = subprocess.Popen(
        [sys.executable, "-m", module], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_until_ready(url: str, log: Path) -> None:
    """Returns once /readyz says yes; fails with the log when it does not in time."""
    deadline = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
