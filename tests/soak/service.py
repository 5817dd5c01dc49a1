"""A whole service in processes of its own: API, worker, Redis, and a second worker that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.jobs.embedded import EmbeddedRedis
from app.settings import ENV_PREFIX
from tests.support.processes import running_module, wait_until_ready

_REDIS_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Lifetimes:
    """Times after which what the service keeps is deleted, in seconds; short ones, so that a run sees it happen.

    Attributes:
        result: Of a result.
        record: Of a job's record, behind its result.
        key: Of an Idempotency-Key.
        batch: Of a batch.
    """

    result: int
    record: int
    key: int
    batch: int

    @property
    def longest(self) -> int:
        """Time after which everything is gone."""
        return max(self.result + self.record, self.key, self.batch)

    def settings(self) -> dict[str, str]:
        """Give them as settings of the service."""
        return {
            "RESULT_TTL_S": str(self.result),
            "RECORD_TTL_S": str(self.record),
            "IDEMPOTENCY_TTL_S": str(self.key),
            "BATCH_TTL_S": str(self.batch),
        }


@dataclass(frozen=True)
class SoakService:
    """A service that works.

    Attributes:
        url: Address of its API.
        redis_url: Address of its Redis.
        pids: Its lasting processes, by name.
        folder: Holds the log, `service.log`.
        environment: Settings of its processes.
    """

    url: str
    redis_url: str
    pids: dict[str, int]
    folder: Path
    environment: dict[str, str]


@contextlib.contextmanager
def running_service(folder: Path, model: str, lifetimes: Lifetimes) -> Iterator[SoakService]:
    """A service for as long as the block lasts.

    Args:
        folder: For its log and the data of its Redis.
        model: Name of the model.
        lifetimes: For how long it keeps things.
    """
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "service.log").open("w"))
        server = EmbeddedRedis(folder, max_memory_bytes=_REDIS_BYTES)
        server.start()
        stack.callback(server.stop)
        environment = _environment(model, server.url, lifetimes)
        worker = stack.enter_context(running_module("app.worker", environment, log))
        api = stack.enter_context(running_module("tests.soak.api", environment, log))
        assert api.stdout is not None
        url = api.stdout.readline().strip()
        assert url, (folder / "service.log").read_text()
        wait_until_ready(url, folder / "service.log")
        assert server.pid is not None
        pids = {"API": api.pid, "worker": worker.pid, "Redis": server.pid}
        yield SoakService(url, server.url, pids, folder, environment)


def _environment(model: str, redis_url: str, lifetimes: Lifetimes) -> dict[str, str]:
    settings = lifetimes.settings() | {
        "REDIS_URL": redis_url,
        "MODEL": model,
        "DEVICE": "cpu",
        "THREADS": "1",
        "LOG_LEVEL": "warning",
        "LEASE_S": "5",
        "GRACE_S": "5",
        "WEBHOOK_SCHEDULE_S": "0.3,0.5,1",
        "RATE_PER_S": "1000",  # far above what comes, so that the limiter works and refuses nobody
        "RATE_BURST": "1000",
        "UPLOAD_TIMEOUT_S": "20",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    return kept | {f"{ENV_PREFIX}{name}": value for name, value in settings.items()}


@contextlib.asynccontextmanager
async def visitors(service: SoakService, stay_s: float, pause_s: float) -> AsyncIterator[list[str]]:
    """Workers that come and go while the block lasts: every other one is killed, the rest are asked to stop.

    Args:
        service: Whom they work for.
        stay_s: Time for which each stays.
        pause_s: Time between two of them.

    Gives:
        How each has ended.
    """
    ended: list[str] = []
    leaving = asyncio.Event()
    task = asyncio.create_task(_visit(service, stay_s, pause_s, ended, leaving))
    try:
        yield ended
    finally:
        leaving.set()  # and no cancellation, which would leave the process of a worker behind
        await task


async def _visit(service: SoakService, stay_s: float, pause_s: float, ended: list[str], leaving: asyncio.Event) -> None:
    while not leaving.is_set():
        with (service.folder / "service.log").open("a") as log:
            command = (sys.executable, "-m", "app.worker")
            visitor = await asyncio.create_subprocess_exec(*command, env=service.environment, stdout=log, stderr=log)
        number = signal.SIGKILL if len(ended) % 2 else signal.SIGTERM
        await _pass(stay_s, leaving)
        with contextlib.suppress(ProcessLookupError):
            visitor.send_signal(number)
        ended.append(f"{number.name}: {await visitor.wait()}")
        await _pass(pause_s, leaving)


async def _pass(seconds: float, leaving: asyncio.Event) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(leaving.wait(), seconds)
