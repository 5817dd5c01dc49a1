"""The worker's life: load, announce, claim what there is room for, keep the leases, drain.

Knows neither tensors nor keys of Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.errors import QueueUnavailableError
from app.metrics import record_ready
from app.worker.courier import end_tasks, retry_delays
from app.worker.previews import PreviewPolicy
from app.worker.workbench import Workbench

if TYPE_CHECKING:
    from app.jobs.queue import JobQueue
    from app.worker.models import ModelSet

logger = logging.getLogger(__name__)

DRAIN_SHARE = 0.8
"""Part of the grace that estimates may fill; the rest is for encoding, committing and being wrong."""

HAND_BACK_S = 3.0
"""Time that handing back may take after the grace."""

SEARCH_S = 0.1
"""Time between looks for an express job while nothing else could begin; workers with room are quicker than that."""


@dataclass(frozen=True)
class LoopPolicy:
    """Times and bounds of a worker.

    Args:
        concurrency: Most jobs decoded, worked on or delivered at once.
        lease_s: Time without a renewal after which the queue gives a job to another worker.
        grace_s: Time running jobs get to finish after a request to stop.
        announce_s: Time between signs of life of the worker itself.
        previews: When those who listen to a job get to see it, and how large.
        claim_block_ms: Longest wait for a job in one call; also how long stopping may take to be noticed.
    """

    concurrency: int = 8
    lease_s: float = 30.0
    grace_s: float = 25.0
    announce_s: float = 2.0
    claim_block_ms: int = 500
    previews: PreviewPolicy = field(default_factory=PreviewPolicy)


class WorkerLoop:
    """One worker.

    While Redis is away the jobs in hand are computed to their end, and their results are committed once it is back.

    Args:
        queue: Where jobs come from and results go.
        make_models: Gives the models, loaded and warm. It may take long: this worker announces itself meanwhile.
        policy: Times and bounds.
        name: Unique name of this worker.
    """

    def __init__(self, queue: JobQueue, make_models: Callable[[], ModelSet], policy: LoopPolicy, name: str) -> None:
        self._queue = queue
        self._policy = policy
        self._name = name
        self._bench = Workbench(make_models, queue, policy.lease_s, policy.concurrency, previews=policy.previews)
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._is_ready = False
        self._models: tuple[str, ...] = ()  # their names, once all are loaded
        self._news = asyncio.Event()  # something to announce at once
        self._others: set[str] = set()  # names of other workers that were ready lately

    def stop(self) -> None:
        """Ask the worker to drain and end; a second time: without the grace. Call it in the event loop's thread."""
        (self._hurrying if self._stopping.is_set() else self._stopping).set()
        self._bench.left.set()

    async def run(self) -> None:
        """Work until `stop`.

        Raises:
            ServiceError: A model cannot be loaded.
            DeviceLostError: The device does not work any more; the jobs in hand are back in the queue.
        """
        announcing = asyncio.create_task(self._announce_forever())
        setting_up = asyncio.create_task(self._bench.set_up())
        stopping = asyncio.create_task(self._stopping.wait())
        tasks: list[asyncio.Task[Any]] = [announcing, setting_up, stopping]
        try:
            await asyncio.wait({setting_up, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                return
            self._models = setting_up.result()
            self._say_ready(True)
            logger.info("worker %s is ready with model %s", self._name, ", ".join(self._models))
            claiming = asyncio.create_task(self._claim_until_stop())
            computing = asyncio.create_task(self._bench.compute_forever())
            beating = asyncio.create_task(self._bench.courier.keep_leases(self._bench.held.values))
            tasks += [claiming, computing, beating]
            parts = [announcing, claiming, computing, beating]
            await asyncio.wait({stopping, *parts}, return_when=asyncio.FIRST_COMPLETED)
            self._say_ready(False)
            if computing.done():
                await self._abandon(claiming)
            for part in parts:
                if part.done():
                    part.result()  # a part of the loop itself broke: end the process, so that it is started afresh
            await claiming  # what it has just claimed must be handed back, not forgotten
            await self._drain()
        finally:
            await end_tasks(tasks)
            await self._bench.close()
            await self._retire()

    async def _claim_until_stop(self) -> None:
        delays = retry_delays()
        while not self._stopping.is_set():
            self._bench.left.clear()
            ask = self._bench.ask()
            if ask.jobs == 0:
                await self._bench.left.wait()
                continue
            try:
                if ask.is_search:  # without waiting in the queue, so that whoever waits there is served first
                    await self._wait_for_stop(SEARCH_S)
                    if self._stopping.is_set():
                        return
                    ask = self._bench.ask()
                block_ms = 0 if ask.is_search else self._policy.claim_block_ms
                claims = await self._queue.claim(self._name, ask.jobs, block_ms, ask.priorities)
                while claims:  # no name may stay bound to an upload while the next claim waits
                    self._bench.accept(claims.pop(0))
                delays = retry_delays()
            except QueueUnavailableError as error:
                logger.warning("cannot claim jobs: %s", error)
                await self._wait_for_stop(next(delays))

    async def _wait_for_stop(self, most_s: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), most_s)

    async def _announce_forever(self) -> None:
        ttl_ms = int(self._policy.announce_s * 3 * 1000)
        while True:
            self._news.clear()
            try:
                first = self._models[0] if self._models else ""
                await self._queue.announce(self._name, self._is_ready, first, ttl_ms, self._models)
                if self._is_ready:
                    await self._share_out()
            except QueueUnavailableError as error:
                logger.warning("cannot announce this worker: %s", error)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._policy.announce_s)

    async def _share_out(self) -> None:
        """Hand back what could not begin here when another worker has become ready and the queue has none like it."""
        others = {worker.name for worker in await self._queue.workers() if worker.ready} - {self._name}
        is_more, self._others = bool(others - self._others), others
        if is_more:
            depth = await self._queue.depth()
            self._bench.hand_back_parked([priority for priority, jobs in depth.items() if not jobs])

    def _say_ready(self, is_ready: bool) -> None:
        self._is_ready = is_ready
        record_ready(is_ready)
        self._news.set()

    async def _abandon(self, claiming: asyncio.Task[None]) -> None:
        """Claim nothing more and give every job back: nobody here will compute it."""
        self._stopping.set()
        self._bench.left.set()
        await asyncio.wait({claiming})
        self._bench.abandon()
        await self._wait_until_empty(time.monotonic() + HAND_BACK_S, asyncio.Event())

    async def _drain(self) -> None:
        """Finish what fits into the grace, hand back the rest at once."""
        deadline_s = time.monotonic() + self._policy.grace_s
        planned_s = 0.0
        for held in sorted(self._bench.held.values(), key=self._bench.remaining_s):
            planned_s += self._bench.remaining_s(held)
            if planned_s > self._policy.grace_s * DRAIN_SHARE:
                self._bench.hand_back(held)
        logger.info("draining: %d jobs in hand", len(self._bench.held))
        await self._wait_until_empty(deadline_s, self._hurrying)
        for held in list(self._bench.held.values()):
            self._bench.hand_back(held)
        await self._wait_until_empty(time.monotonic() + HAND_BACK_S, asyncio.Event())
        if self._bench.held:
            logger.warning("%d jobs are left to their leases", len(self._bench.held))

    async def _wait_until_empty(self, deadline_s: float, give_up: asyncio.Event) -> None:
        while self._bench.held and not give_up.is_set() and (left_s := deadline_s - time.monotonic()) > 0:
            self._bench.left.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._bench.left.wait(), left_s)

    async def _retire(self) -> None:
        try:
            await self._queue.retire(self._name)
        except QueueUnavailableError as error:
            logger.warning("cannot sign this worker off: %s", error)
