"""How jobs leave a worker: the queue is told, then the job is forgotten."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from app.errors import ServiceError
from app.metrics import record_ended, record_held, record_stale_commit
from app.storage.errors import OutputError
from app.worker.faults import UnexpectedError
from app.worker.held import HeldJob, Phase
from app.worker.spans import trace_job

if TYPE_CHECKING:
    from app.jobs.queue import Claim, JobQueue
    from app.worker.courier import Courier

logger = logging.getLogger(__name__)


class Outcomes:
    """Tells the queue how held jobs ended.

    Args:
        queue: Where outcomes go.
        courier: Repeats them until they are heard.
        held: The jobs of this worker by id; those that left are taken out.
        on_left: Called when a job has left.
        accept: Takes a job on that came back while its outcome was told.
    """

    def __init__(
        self,
        queue: JobQueue,
        courier: Courier,
        held: dict[str, HeldJob],
        on_left: Callable[[], None],
        accept: Callable[[Claim], None],
    ) -> None:
        self._queue, self._courier, self._held = queue, courier, held
        self._on_left, self._accept = on_left, accept

    async def failed(self, held: HeldJob, error: Exception) -> None:
        """End a job with an error; words of unknown ones stay in the log."""
        if not isinstance(error, ServiceError):
            logger.error("unexpected error", exc_info=error, extra=held.record)
            error = UnexpectedError("An unexpected error stopped the restoration; see the worker's log.")
        code, detail, retryable = error.code, error.detail, error.retryable
        logger.warning("fails: %s: %s", code, detail, extra=held.record)
        await self.settle(held, "failed", lambda claim: self._queue.fail(claim, code, detail, retryable), code=code)

    async def canceled(self, held: HeldJob) -> None:
        """End a job that its caller canceled."""
        await self.settle(held, "canceled", self._queue.canceled)

    async def handed_back(self, held: HeldJob) -> None:
        """Give a job back to the queue."""
        await self.settle(held, "handed_back", self._queue.hand_back)

    async def settle(
        self,
        held: HeldJob,
        outcome: str,
        commit: Callable[[Claim], Coroutine[Any, Any, bool]],
        code: str | None = None,
    ) -> None:
        """Tell the queue and forget the job; counts as lost when the queue refuses.

        Args:
            held: The job.
            outcome: One of `app.metrics.OUTCOMES`.
            commit: One of the queue's outcomes.
            code: Error code of a failure.
        """
        held.phase = Phase.DELIVERING
        settled = None
        try:
            settled = await self._courier.settle(held, commit)
            if settled is None:
                logger.warning("the queue refused: it was canceled, or another worker has it", extra=held.record)
                record_stale_commit()
                outcome, code = "lost", None
        except OutputError as error:
            await self.failed(held, error)
            return
        except Exception:
            logger.exception("its outcome cannot be told; another worker will take it", extra=held.record)
            outcome, code = "lost", None
        self.forget(held, outcome, code)
        if settled is not None and settled is not held.claim and held.successor is not None:
            self._accept(held.successor)  # the outcome gave the job back to the queue, and we were given it again

    def forget(self, held: HeldJob, outcome: str, code: str | None = None) -> None:
        """Let go of a job whose outcome is settled, or that is another worker's by now."""
        self._held.pop(held.id, None)
        self._on_left()
        trace_job(held, outcome, code)
        width, height = held.size
        record_held(len(self._held))
        record_ended(
            outcome,
            time.monotonic() - held.claimed_s,
            megapixels=width * height / 1e6,
            code=code,
            model=held.model,
        )
