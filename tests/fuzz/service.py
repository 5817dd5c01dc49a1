"""A whole service in processes of its own: API (which reaches no other host), worker with the tiny model, Redis."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import running_module, wait_until_ready
from tests.support.redis_server import RedisServer

SETTINGS = {
    "MODEL": "tiny",
    "THREADS": "1",
    "MAX_WAIT_S": "2",  # requests that wait for what never ends cost this much
    "MAX_QUEUED": "100000",
    "MAX_WAITING_ENTRIES": "1000000",
}


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
        stack.enter_context(running_module("app.worker", environment, log))
        api = stack.enter_context(running_module("tests.fuzz.offline_api", environment, log))
        assert api.stdout is not None
        url = api.stdout.readline().strip()
        assert url, (folder / "service.log").read_text()
        wait_until_ready(url, folder / "service.log")
        yield url
