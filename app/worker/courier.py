"""What the worker tells the queue about the jobs it holds: signs of life, progress, outcomes.

Rides out an absent Redis: progress is dropped, outcomes are repeated until they are heard.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from app.errors import QueueUnavailableError
from app.worker.held import HeldJob, Leave

if TYPE_CHECKING:
    from app.jobs.queue import Claim, JobQueue, Renewal

logger = logging.getLogger(__name__)

BEATS_PER_LEASE = 4
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 2.0
CANCEL_AGAIN_S = 0.2


def retry_delays() -> Iterator[float]:
    """Give ever longer waits in seconds, up to a bound, uneven so that workers do not come back all at once."""
    delay_s = FIRST_RETRY_S
    while True:
        yield delay_s * random.uniform(0.5, 1.0)  # noqa: S311  not a secret
        delay_s = min(2 * delay_s, LAST_RETRY_S)


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and return when they have ended.

    Asks more than once: a cancellation that arrives while a connection is being opened may be swallowed on the way.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_S)


class Courier:
    """Speaks to the queue for held jobs.

    Args:
        queue: The queue.
        lease_s: Time without a renewal after which the queue gives a job to another worker.
        on_leave: Called when a job learns that it must leave.
    """

    def __init__(self, queue: JobQueue, lease_s: float, on_leave: Callable[[], None]) -> None:
        self._queue = queue
        self._beat_s = lease_s / BEATS_PER_LEASE
        self._on_leave = on_leave

    async def keep_leases(self, held_jobs: Callable[[], Iterable[HeldJob]]) -> None:
        """Renew the lease of every held job four times per lease, for ever."""
        while True:
            await asyncio.sleep(self._beat_s)
            await asyncio.gather(*(self._renew(held) for held in list(held_jobs())))

    def report(self, held: HeldJob) -> None:
        """Send how far the job is, soon; news that comes while an older report is under way replaces it."""
        held.is_report_due = True
        held.marks.append((held.step, time.monotonic()))
        if held.reporter is None or held.reporter.done():
            held.reporter = asyncio.create_task(self._send_reports(held))

    async def settle(self, held: HeldJob, commit: Callable[[Claim], Awaitable[bool]]) -> Claim | None:
        """Tell the queue how the job ended, again and again until it answers.

        Args:
            held: The job.
            commit: One of the queue's outcomes; called with the claim that is current at each attempt.

        Returns:
            The claim whose outcome the queue took; None when it refused because the job is somebody else's or over.
        """
        if held.reporter is not None:
            await held.reporter  # the last step is told before the outcome
        for delay_s in retry_delays():
            claim = held.claim
            try:
                accepted = await commit(claim)
            except QueueUnavailableError as error:
                logger.warning("its outcome waits for the queue: %s", error, extra=held.record)
                await asyncio.sleep(delay_s)
                continue
            if accepted:
                return claim
            if claim is held.claim:  # else this worker has claimed the job anew meanwhile
                return None
        return None

    async def _renew(self, held: HeldJob) -> None:
        claim = held.claim
        try:
            self.note(held, claim, await self._queue.renew(claim))
        except QueueUnavailableError as error:
            logger.warning("its lease is not renewed: %s", error, extra=held.record)
        except Exception:
            # Whatever is wrong with one job's record, the others' leases must be kept.
            logger.exception("its lease is not renewed", extra=held.record)

    async def _send_reports(self, held: HeldJob) -> None:
        while held.is_report_due:
            held.is_report_due = False
            claim = held.claim
            try:
                renewal = await self._queue.progress(
                    claim, held.step, held.steps_total, held.caption, held.findings, held.model
                )
            except QueueUnavailableError:
                return  # progress is a courtesy; the heartbeat will say that Redis is away
            except Exception:
                logger.exception("its progress is not reported", extra=held.record)
                return
            self.note(held, claim, renewal)

    def note(self, held: HeldJob, claim: Claim, renewal: Renewal) -> None:
        """Learn from what the queue answered about a claim of a job."""
        held.is_watched = renewal.watched
        if claim is not held.claim or held.leave is not None:
            return
        if not renewal.owned:
            held.leave = Leave.LOST
        elif renewal.cancel_requested:
            held.leave = Leave.CANCELED
        else:
            return
        self._on_leave()
