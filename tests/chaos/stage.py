"""The service under test: API, two workers behind networks of their own, Redis; and looking at it from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from app.jobs.job import PRIORITIES
from app.jobs.keys import GROUP, Keys
from tests.chaos.proxy import NetworkProxy
from tests.chaos.redis_node import RedisNode
from tests.chaos.roles import ApiRole, Role, WorkerRole

WORKERS = 2
KEYS = Keys()
READY_S = 240.0

# What a worker sends to store a result, before it commits it.
_STORES_RESULT = re.compile(
    rb"\r\nSET\r\n\$\d+\r\n" + re.escape(KEYS.result("", 0)[:-2].encode()) + rb"([0-9a-f]{32}):(\d+)"
)


@dataclass(frozen=True)
class Attempt:
    """An attempt of a job in the hands of a worker."""

    job_id: str
    fence: int


class Stage:
    """All processes of one run.

    Args:
        redis: The server, started.
        api: The API.
        workers: The workers.
        proxies: Network of each worker.
        lease_s: Their lease.
    """

    def __init__(
        self, redis: RedisNode, api: ApiRole, workers: list[WorkerRole], proxies: list[NetworkProxy], lease_s: float
    ) -> None:
        self.redis, self.api, self.workers, self.proxies, self.lease_s = redis, api, workers, proxies, lease_s

    @property
    def roles(self) -> list[Role]:
        return [self.api, *self.workers]

    async def keep_alive(self) -> None:
        """Start again, for ever, what has ended by itself."""
        while True:
            for role in self.roles:
                role.revive()
                role.prepare()
            await asyncio.sleep(0.2)

    async def until_ready(self, workers: list[WorkerRole] | None = None) -> None:
        """Return when the API and these workers (None: all) are ready."""
        wanted = self.workers if workers is None else workers

        async def is_ready() -> bool:
            return all(worker.is_ready for worker in wanted) and await self.is_api_there()

        try:
            await eventually(is_ready, READY_S, "API and workers are ready")
        except TimeoutError as error:
            raise TimeoutError(
                "\n".join([str(error), *(role.deaths[-1] for role in self.roles if role.deaths)])
            ) from None

    async def is_api_there(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            async with httpx.AsyncClient(timeout=2.0) as client:
                return (await client.get(f"{self.api.url}/healthz")).is_success
        return False

    async def attempts_of(self, worker: WorkerRole) -> list[Attempt]:
        """The attempts that a worker holds, as Redis knows them."""
        found = []
        for priority in PRIORITIES:
            stream = KEYS.stream(priority)
            rows = await self.redis.ask("XPENDING", stream, GROUP, "-", "+", 1000, parse_detail=True)
            for row in rows or []:
                if not worker.is_consumer(row["consumer"].decode()):
                    continue
                entries = await self.redis.ask("XRANGE", stream, row["message_id"], row["message_id"])
                if entries:
                    job_id = entries[0][1][b"job"].decode()
                    fence = await self.redis.ask("HGET", KEYS.job(job_id), "attempt")
                    found.append(Attempt(job_id, int(fence or 0)))
        return found

    async def has_passed_on(self, attempt: Attempt) -> bool:
        """Whether a job is out of the hands that held this attempt: another has it, or it is over."""
        values = await self.redis.ask("HMGET", KEYS.job(attempt.job_id), "attempt", "state")
        if not values or values[0] is None:
            return False
        return int(values[0]) > attempt.fence or values[1] != b"running"

    async def catch_commit(
        self, timeout_s: float, *, exclude: Callable[[str], bool]
    ) -> tuple[WorkerRole, Attempt] | None:
        """Freeze the first worker that stores a result, at that very moment, so that its commit comes late.

        Args:
            timeout_s: Longest wait.
            exclude: Jobs that do not count, by id.
        """
        caught: asyncio.Future[tuple[WorkerRole, Attempt]] = asyncio.get_running_loop().create_future()

        def watch(worker: WorkerRole, data: bytes) -> None:
            match = _STORES_RESULT.search(data)
            if match is None or caught.done() or not worker.is_ready:
                return
            job_id = match[1].decode()
            if not exclude(job_id):
                worker.freeze()
                caught.set_result((worker, Attempt(job_id, int(match[2]))))

        for worker, proxy in zip(self.workers, self.proxies, strict=True):
            proxy.on_request = partial(watch, worker)
        try:
            return await asyncio.wait_for(caught, timeout_s)
        except asyncio.TimeoutError:
            return None
        finally:
            for proxy in self.proxies:
                proxy.on_request = None

    def stop(self) -> list[str]:
        """End everything in peace; gives the complaints of those that did not."""
        for worker in self.workers:
            if not worker.is_ready:
                worker.kill()  # it has just been started again, and nothing is to be learnt from waiting for it
        codes = {role.name: role.stop() for role in self.roles}
        return [f"{name} ended with code {code} when it was asked to stop" for name, code in codes.items() if code]


async def eventually(
    condition: Callable[[], Awaitable[bool]], timeout_s: float, what: str, every_s: float = 0.02
) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"did not come true in {timeout_s:g} s: {what}")
        await asyncio.sleep(every_s)


@contextlib.asynccontextmanager
async def set_up(folder: Path, redis: RedisNode, lease_s: float) -> AsyncIterator[Stage]:
    """A running service.

    Args:
        folder: For logs.
        redis: Its server, not started.
        lease_s: Lease of its workers.
    """
    # One tile per forward: in larger batches one value in a hundred thousand may differ by 1/255 with the company.
    shared = {"lease_s": f"{lease_s:g}", "max_deliveries": "100", "batch_tiles": "1", "grace_s": "20"}
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(redis.close)
        await redis.start()
        proxies = [await stack.enter_async_context(NetworkProxy("127.0.0.1", redis.port)) for _ in range(WORKERS)]
        api = ApiRole(folder, shared | {"redis_url": redis.url})
        workers = [
            WorkerRole(number, folder, shared | {"redis_url": f"redis://127.0.0.1:{proxy.port}/0"})
            for number, proxy in enumerate(proxies)
        ]
        stage = Stage(redis, api, workers, proxies, lease_s)
        for role in stage.roles:
            stack.callback(role.close)
            role.start()
        yield stage


def is_refusal(line: str, job_id: str) -> bool:
    """Whether a line of a worker's log says that its commit of a job was refused."""
    if "the queue refused" not in line or job_id not in line:
        return False
    return bool(json.loads(line).get("job_id") == job_id)


def refusals_in(log: Path) -> int:
    """Number of commits that were refused, by a worker's log."""
    return sum("the queue refused" in line for line in log.read_text(errors="replace").splitlines())
