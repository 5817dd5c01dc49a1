"""The jobs in hand, from claim to commit: which of the worker's parts has each, and the loop that moves them on.

The model runs in one thread of its own and photos are decoded and encoded in others, so that the event loop always has
time for heartbeats. Where jobs come from and when to stop is the loop's business.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.allocator import give_freed_memory_back
from app.errors import ServiceError
from app.jobs.job import PRIORITIES
from app.metrics import record_claimed, record_held
from app.worker.computing import Computing
from app.worker.courier import Courier, end_tasks
from app.worker.deadlines import Deadline, deadline_error
from app.worker.delivery import Delivery
from app.worker.engine import Engine, EnginePolicy
from app.worker.held import HeldJob, Leave, Phase, without_upload
from app.worker.intake import Ask, Intake
from app.worker.outcomes import Outcomes
from app.worker.previews import PreviewPolicy, Previews
from app.worker.threads import Threads

if TYPE_CHECKING:
    from app.jobs.queue import Claim, JobQueue
    from app.worker.models import ModelSet
    from app.worker.stages import AnalyzedPhoto, RestoredPhoto
    from app.worker.trace import Trace

logger = logging.getLogger(__name__)

DEADLINE_GRAIN_S = 0.01
"""Time after a deadline at which it is looked at, so that clocks of different grain do not make the loop spin."""

IDLE_S = 5.0
"""Time without any job after which freed memory goes back to the system."""


@dataclass(frozen=True)
class _Parts:
    """What there is once the models are loaded."""

    models: ModelSet
    engine: Engine
    intake: Intake
    computing: Computing
    delivery: Delivery


class Workbench:
    """Every job this worker holds, at any stage.

    An exception of one job ends that job alone, never the loop.

    Args:
        make_models: Gives the models, loaded and warm; called once, in the model's thread.
        queue: Where outcomes go.
        lease_s: Time without a renewal after which the queue gives a job to another worker.
        concurrency: Most jobs decoded, worked on or delivered at once.
        previews: When those who listen to a job get to see it, and how large.
        trace: Notes what the threads do; None for nothing.
        clock: Seconds, of the same clock as `Claim.accepted_s`.
    """

    def __init__(
        self,
        make_models: Callable[[], ModelSet],
        queue: JobQueue,
        lease_s: float,
        concurrency: int,
        *,
        previews: PreviewPolicy | None = None,
        trace: Trace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.held: dict[str, HeldJob] = {}
        self.left = asyncio.Event()  # set whenever a job has left or begun, so that `ask` may say something else
        self.courier = Courier(queue, lease_s, on_leave=lambda: self._work.set())
        self.outcomes = Outcomes(queue, self.courier, self.held, self._job_left, self.accept)
        self._threads = Threads(trace)
        self._previews = Previews(previews or PreviewPolicy(), queue, self.courier, self._threads)
        self._clock = clock
        self._make_models = make_models
        self._made_parts: _Parts | None = None
        self._queue = queue
        self._concurrency = concurrency
        self._keeps_memory = True  # freed, but not given back yet
        self._work = asyncio.Event()  # set whenever the compute task has something to look at

    @property
    def _parts(self) -> _Parts:
        if self._made_parts is None:
            raise RuntimeError("no model is loaded; call Workbench.set_up() first")
        return self._made_parts

    async def set_up(self) -> tuple[str, ...]:
        """Load the models and warm them up; gives their names.

        Raises:
            ServiceError: A model cannot be loaded or run.
            DeviceLostError: The device does not work.
        """
        models = await self._threads.in_model("load", self._make_models)
        intake = Intake(self.held, models, self._threads, self._concurrency, self._work.set, self._fail)
        engine = Engine(EnginePolicy(max_state_bytes=intake.states.total), self._clock)
        for name in models.names:
            engine.limit_batch(models.batch_tiles(name), name)
        computing = Computing(
            models, engine, self.held, self._threads, self.courier, self._previews, self._fail, self._deliver
        )
        delivery = Delivery(models, self._threads, self._queue, self.outcomes, intake.free_pixels)
        self._made_parts = _Parts(models, engine, intake, computing, delivery)
        return models.names

    async def close(self) -> None:
        """Drop what is left and end the threads once they are done with what they are at."""
        await end_tasks(task for held in self.held.values() for task in held.tasks)
        await self._previews.close()
        self._threads.close()

    def ask(self) -> Ask:
        """Say what may be claimed."""
        return self._parts.intake.ask()

    def room(self) -> int:
        """Count the jobs that may be claimed."""
        return self.ask().jobs

    def accept(self, claim: Claim) -> None:
        """Take a job on; its photo is decoded as soon as there is memory for the pixels."""
        held = self.held.get(claim.job.id)
        if held is not None:  # its lease ran out while Redis was away, and it came back to us: no work is lost
            held.claim = without_upload(claim)
            if held.phase is Phase.DELIVERING:
                held.successor = claim
            if held.leave is Leave.LOST:
                held.leave = None
                self._parts.intake.decode_what_fits()
            return
        held = HeldJob(without_upload(claim), upload=(claim.image, claim.mask))
        self._keeps_memory = True
        self.held[held.id] = held
        started_ms = claim.job.started_ms if claim.job.started_ms is not None else claim.job.created_ms
        record_claimed(claim.priority, claim.fence, (started_ms - claim.job.created_ms) / 1000)
        record_held(len(self.held))
        try:
            held.model = self._parts.models.choose(claim.job.options.model)
        except ServiceError as error:  # whoever asks next may not have it either, so it is not handed back
            self._fail(held, error)
            return
        held.deadline = Deadline.of(claim.job.options, claim.accepted_s)
        if held.deadline.is_missed(self._clock(), has_begun=False):  # it waited in the queue for too long
            self._fail_late(held)
            return
        self._work.set()  # its deadline may be the next one
        self._parts.intake.append(held)

    def hand_back(self, held: HeldJob) -> None:
        """Give a job back to the queue before the next step, unless it is being delivered already."""
        held.leave = held.leave or Leave.HAND_BACK
        self._work.set()

    def hand_back_parked(self, priorities: Collection[str] = PRIORITIES) -> None:
        """Give the jobs back of which nothing but the upload is kept: another worker may begin them sooner."""
        for held in self._parts.intake.parked():
            if held.claim.priority in priorities:
                self.hand_back(held)

    def abandon(self) -> None:
        """Give every job back that is not being delivered, at once: for when nothing is computed here any more."""
        for held in list(self.held.values()):
            if held.phase is Phase.DELIVERING:
                continue
            if held.task is not None:
                held.task.cancel()  # its photo is being decoded
            self._take_out(held)
            self._settle_leave(held, held.leave or Leave.HAND_BACK)

    def remaining_s(self, held: HeldJob) -> float:
        """Estimate the time that the job's own tiles will still take; infinite before it has begun."""
        return self._parts.computing.remaining_s(held)

    async def compute_forever(self) -> None:
        """Admit, run and end jobs as long as there are any, then wait for more.

        Raises:
            DeviceLostError: The device does not work any more; jobs in hand are left to `abandon`.
        """
        parts = self._parts
        while True:
            self._work.clear()
            for held in [held for held in self.held.values() if held.leave and held.is_between_steps]:
                logger.info("leaves before its end: %s", held.leave and held.leave.value, extra=held.record)
                self._take_out(held)
                self._settle_leave(held, held.leave)
            self._fail_overdue()
            admitted = await self._admit_next()
            batch = parts.engine.next_batch()
            if batch:
                await parts.computing.run_batch(batch)
            elif not admitted:
                await self._wait_for_work()

    async def _admit_next(self) -> bool:
        """Let the job begin whose turn it is, if there is one; one at a time, so that running jobs go on between."""
        intake = self._parts.intake
        held = intake.take_next()
        if held is None:
            return False
        if await self._parts.computing.begin(held, intake.wait_behind(held)):
            intake.free_pixels(held)
            self.left.set()
        return True

    def _fail_overdue(self) -> None:
        """End jobs that missed their deadline, admitted or not; one that is being decoded is looked at after that."""
        overdue = {self.held[job_id] for job_id in self._parts.engine.overdue()}
        now_s = self._clock()
        for held in list(self.held.values()):
            is_in_line = held.phase in (Phase.CLAIMED, Phase.WAITING)
            if held in overdue or (is_in_line and held.deadline.is_missed(now_s, has_begun=False)):
                self._fail_late(held)

    def _fail_late(self, held: HeldJob) -> None:
        late_s = self._clock() - held.claim.accepted_s
        self._fail(held, deadline_error(held.claim.job.options, self._parts.engine.has_begun(held.id), late_s))

    async def _wait_for_work(self) -> None:
        """Wait for news, but not beyond the next deadline of a job that waits for memory or for being decoded."""
        times = [held.deadline.next_s(False) for held in self.held.values() if held.is_between_steps]
        next_s = min((time_s for time_s in times if time_s is not None), default=None)
        wait_s = None if next_s is None else max(0.0, next_s - self._clock()) + DEADLINE_GRAIN_S
        if not self.held and self._keeps_memory:
            wait_s = IDLE_S
        try:
            await asyncio.wait_for(self._work.wait(), wait_s)
        except asyncio.TimeoutError:
            if not self.held and self._keeps_memory:
                await self._threads.in_model("trim", give_freed_memory_back)
                self._keeps_memory = False

    def _take_out(self, held: HeldJob) -> None:
        """Free a job's place in engine and model; what is left is to tell the queue."""
        self._parts.engine.remove(held.id)
        self._parts.models.discard(held.id)
        held.preview, held.state_bytes = None, 0
        held.phase = Phase.DELIVERING
        self._parts.intake.remove(held)
        self._work.set()

    def _fail(self, held: HeldJob, error: Exception) -> None:
        self._take_out(held)
        held.task = asyncio.create_task(self.outcomes.failed(held, error))

    def _deliver(self, held: HeldJob, restored: RestoredPhoto | AnalyzedPhoto) -> None:
        self._take_out(held)
        held.task = asyncio.create_task(self._parts.delivery.deliver(held, restored))

    def _settle_leave(self, held: HeldJob, leave: Leave | None) -> None:
        if leave is Leave.CANCELED:
            held.task = asyncio.create_task(self.outcomes.canceled(held))
        elif leave is Leave.HAND_BACK:
            held.task = asyncio.create_task(self.outcomes.handed_back(held))
        else:  # at once, so that no fresh claim of the job can come in between
            self.outcomes.forget(held, "lost")

    def _job_left(self) -> None:
        self.left.set()
        self._work.set()  # idleness begins with the last job's leaving
