"""A whole service in processes of its own: API (which reaches no other host), worker with the tiny model, Redis."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx

from tests.support.redis_server import RedisServer

SETTINGS = {
    "MODEL": "tiny",
    "THREADS": "1",
    "MAX_WAIT_S": "2",  # requests that wait for what never ends cost this much
    "MAX_QUEUED": "100000",
    "MAX_WAITING_ENTRIES": "1000000",
}
READY_S = 60.0


@contextlib.contextmanager
def running_service(folder: Path) -> Iterator[str]:
    """The address of a service that lives as long as the block.

    Args:
        folder: For its log, `service.log`.
    """
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "service.log").open("w"))
        redis = RedisServer()
        stack.callback(redis.close)
        redis.start()
        environment = os.environ | {f"VLMIR_{name}": value for name, value in SETTINGS.items()}
        environment["VLMIR_REDIS_URL"] = redis.url
        stack.enter_context(_process("app.worker", environment, log))
        api = stack.enter_context(_process("tests.fuzz.offline_api", environment, log))
        assert api.stdout is not None
        url = api.stdout.readline().strip()
        assert url, (folder / "service.log").read_text()
        _wait_until_ready(url, folder)
        yield url


@contextlib.contextmanager
def _process(module: str, environment: dict[str, str], log: IO[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", module], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


def _wait_until_ready(url: str, folder: Path) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        assert time.monotonic() < deadline, (folder / "service.log").read_text()
        time.sleep(0.05)
