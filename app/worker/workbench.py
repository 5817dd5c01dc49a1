"""The jobs in hand and the work on them: decode, admit, run batch after batch, encode, settle.

The model runs in one thread of its own and photos are decoded and encoded in others, so that the event loop always has
time for heartbeats. Where jobs come from and when to stop is the loop's business.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from app.allocator import give_freed_memory_back
from app.errors import ServiceError
from app.metrics import record_claimed, record_forward, record_held, record_step
from app.worker.courier import Courier, end_tasks
from app.worker.deadlines import Deadline, deadline_error
from app.worker.engine import Engine, EnginePolicy, JobShape, TileRef
from app.worker.held import HeldJob, Leave, Phase, without_upload
from app.worker.outcomes import Outcomes
from app.worker.previews import PreviewPolicy, Previews
from app.worker.threads import Threads

if TYPE_CHECKING:
    from app.images import PixelArray
    from app.jobs.queue import Claim, JobQueue
    from app.worker.models import ModelSet
    from app.worker.stages import RestoredPhoto
    from app.worker.trace import Trace

logger = logging.getLogger(__name__)

USUAL_PIXELS = (4000, 3000)
"""Size that a job not yet claimed is taken to have when its memory is planned."""

DEADLINE_GRAIN_S = 0.01
"""Time after a deadline at which it is looked at, so that clocks of different grain do not make the loop spin."""

IDLE_S = 5.0
"""Time without any job after which freed memory goes back to the system."""

MEAN_KEEPS = 0.9
"""Weight of the past in the running mean of the time per tile."""


class Workbench:
    """Every job this worker holds, at any stage.

    An exception of one job ends that job alone, never the loop.

    Args:
        make_models: Gives the models, loaded and warm; called once, in the model's thread.
        queue: Where outcomes go.
        lease_s: Time without a renewal after which the queue gives a job to another worker.
        concurrency: Most jobs held at once.
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
        self.left = asyncio.Event()  # set whenever a job has left
        self.courier = Courier(queue, lease_s, on_leave=lambda: self._work.set())
        self.outcomes = Outcomes(queue, self.courier, self.held, self._job_left, self.accept)
        self._threads = Threads(trace)
        self._previews = Previews(previews or PreviewPolicy(), queue, self.courier, self._threads)
        self._clock = clock
        self._make_models = make_models
        self._made_models: ModelSet | None = None
        self._queue = queue
        self._concurrency = concurrency
        self._engine = Engine(EnginePolicy(), clock)
        self._undecoded: deque[HeldJob] = deque()  # in order of arrival
        self._waiting: deque[HeldJob] = deque()  # decoded, in order of arrival
        self._keeps_memory = True  # freed, but not given back yet
        self._work = asyncio.Event()  # set whenever the compute task has something to look at
        self._state_budget_bytes = 0
        self._pixel_budget_bytes = 0
        self._tile_s: dict[str, float] = {}  # running mean of the time per tile, by model

    @property
    def _models(self) -> ModelSet:
        if self._made_models is None:
            raise RuntimeError("no model is loaded; call Workbench.set_up() first")
        return self._made_models

    async def set_up(self) -> tuple[str, ...]:
        """Load the models and warm them up; gives their names.

        Raises:
            ServiceError: A model cannot be loaded or run.
        """
        self._made_models = models = await self._threads.in_model("load", self._make_models)
        self._state_budget_bytes = models.state_budget_bytes()
        self._pixel_budget_bytes = models.pixel_budget_bytes()
        self._engine = Engine(EnginePolicy(max_state_bytes=self._state_budget_bytes), self._clock)
        for name in models.names:
            self._engine.limit_batch(models.batch_tiles(name), name)
        return models.names

    async def close(self) -> None:
        """Drop what is left and end the threads once they are done with what they are at."""
        await end_tasks(task for held in self.held.values() for task in held.tasks)
        await self._previews.close()
        self._threads.close()

    def room(self) -> int:
        """Count the jobs that may be taken on: free slots, and memory for photos of usual size."""
        if not self.held:
            return self._concurrency
        taken = sum(self._models.estimate_state_bytes(*held.size) for held in self.held.values())
        usual_bytes = max(1, self._models.estimate_state_bytes(*USUAL_PIXELS))
        return min(self._concurrency - len(self.held), max(0, self._state_budget_bytes - taken) // usual_bytes)

    def accept(self, claim: Claim) -> None:
        """Take a job on; its photo is decoded as soon as there is memory for the pixels."""
        held = self.held.get(claim.job.id)
        if held is not None:  # its lease ran out while Redis was away, and it came back to us: no work is lost
            held.claim = without_upload(claim)
            if held.phase is Phase.DELIVERING:
                held.successor = claim
            if held.leave is Leave.LOST:
                held.leave = None
                self._decode_what_fits()
            return
        held = HeldJob(without_upload(claim), upload=(claim.image, claim.mask))
        self._keeps_memory = True
        self.held[held.id] = held
        started_ms = claim.job.started_ms if claim.job.started_ms is not None else claim.job.created_ms
        record_claimed(claim.priority, claim.fence, (started_ms - claim.job.created_ms) / 1000)
        record_held(len(self.held))
        try:
            held.model = self._models.choose(claim.job.options.model)
        except ServiceError as error:  # whoever asks next may not have it either, so it is not handed back
            self._fail(held, error)
            return
        held.deadline = Deadline.of(claim.job.options, claim.accepted_s)
        if held.deadline.is_missed(self._clock(), has_begun=False):  # it waited in the queue for too long
            self._fail_late(held)
            return
        self._undecoded.append(held)
        self._work.set()  # its deadline may be the next one
        self._decode_what_fits()

    def _job_left(self) -> None:
        self.left.set()
        self._work.set()  # idleness begins with the last job's leaving

    def hand_back(self, held: HeldJob) -> None:
        """Give a job back to the queue before the next step, unless it is being delivered already."""
        held.leave = held.leave or Leave.HAND_BACK
        self._work.set()

    def remaining_s(self, held: HeldJob) -> float:
        """Estimate the time that the job's own tiles will still take; infinite before it has begun."""
        if held.phase is Phase.DELIVERING:
            return 0.0
        if held.id not in self._engine:
            return float("inf")
        return self._engine.status(held.id).tiles_left * self._tile_s.get(held.model, 0.0)

    async def compute_forever(self) -> None:
        """Admit, run and end jobs as long as there are any, then wait for more."""
        while True:
            self._work.clear()
            for held in [held for held in self.held.values() if held.leave and held.is_between_steps]:
                logger.info("leaves before its end: %s", held.leave and held.leave.value, extra=held.record)
                self._take_out(held)
                self._settle_leave(held, held.leave)
            self._fail_overdue()
            admitted = await self._admit_next()
            batch = self._engine.next_batch()
            if batch:
                await self._run_batch(batch)
            elif not admitted:
                await self._wait_for_work()

    def _fail_overdue(self) -> None:
        """End jobs that missed their deadline, admitted or not; one that is being decoded is looked at after that."""
        overdue = {self.held[job_id] for job_id in self._engine.overdue()}
        now_s = self._clock()
        for held in list(self.held.values()):
            is_in_line = held.phase in (Phase.CLAIMED, Phase.WAITING)
            if held in overdue or (is_in_line and held.deadline.is_missed(now_s, has_begun=False)):
                self._fail_late(held)

    def _fail_late(self, held: HeldJob) -> None:
        late_s = self._clock() - held.claim.accepted_s
        self._fail(held, deadline_error(held.claim.job.options, self._engine.has_begun(held.id), late_s))

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

    def _decode_what_fits(self) -> None:
        """Begin to decode, in order of arrival; a photo above the whole budget goes when no other has pixels."""
        while self._undecoded:
            held = self._undecoded[0]
            held_bytes = sum(other.pixel_bytes for other in self.held.values())
            needed_bytes = self._models.estimate_pixel_bytes(*held.size)
            is_too_much = held_bytes > 0 and held_bytes + needed_bytes > self._pixel_budget_bytes
            if is_too_much or held.leave is not None:  # one that leaves is about to be taken out of the line
                return
            self._undecoded.popleft()
            held.pixel_bytes = needed_bytes
            held.phase = Phase.DECODING
            held.task = asyncio.create_task(self._decode(held))

    def _free_pixels(self, held: HeldJob) -> None:
        held.decoded, held.pixel_bytes = None, 0
        self._decode_what_fits()

    async def _decode(self, held: HeldJob) -> None:
        upload, held.upload = held.upload, None
        if upload is None:
            raise RuntimeError(f"job {held.id} has no upload to decode")
        try:
            held.decoded = await self._threads.in_photo("decode", self._models.decode, *upload, job=held.id)
        except Exception as error:  # noqa: BLE001  only this job is lost
            self._free_pixels(held)
            await self.outcomes.failed(held, error)
            return
        held.phase = Phase.WAITING
        self._waiting.append(held)
        self._work.set()

    async def _admit_next(self) -> bool:
        """Let the longest waiting job begin if its state fits; one at a time, so that running jobs go on between."""
        if not self._waiting or not self._engine.can_admit(self._models.estimate_state_bytes(*self._waiting[0].size)):
            return False
        await self._look_ahead()
        held = self._waiting.popleft()
        job = held.claim.job
        decoded, held.decoded = held.decoded, None
        if decoded is None:
            raise RuntimeError(f"job {held.id} waits without a decoded photo")
        try:
            begun = await self._threads.in_model(
                "begin", self._models.begin, held.id, decoded, job.options, job=held.id
            )
        except Exception as error:  # noqa: BLE001  only this job is lost
            self._fail(held, error)
            return True
        del decoded
        self._free_pixels(held)
        held.phase = Phase.RUNNING
        held.steps_total, held.caption, held.findings = begun.steps, begun.caption, begun.findings
        self._engine.add(
            JobShape(
                held.id,
                begun.tiles,
                begun.steps,
                job.priority,
                job.tenant,
                begun.state_bytes,
                held.model,
                held.deadline,
            )
        )
        self.courier.report(held)
        return True

    async def _look_ahead(self) -> None:
        """Look at the photo that begins next together with those behind it, where that is faster than one by one."""
        model = self._waiting[0].model
        most = self._models.looks_together(model)
        if most == 1 or self._waiting[0].is_looked_at:
            return
        group = [held for held in self._waiting if held.model == model and not held.is_looked_at][:most]
        photos = [(held.id, held.decoded, held.claim.job.options) for held in group if held.decoded is not None]
        await self._threads.in_model("look", self._models.look, model, photos, photos=len(photos))
        for held in group:
            held.is_looked_at = True

    async def _run_batch(self, batch: list[TileRef]) -> None:
        model = self.held[batch[0].job_id].model  # that of all of them
        started_s = time.monotonic()
        try:
            report = await self._threads.in_model("forward", self._models.run, batch, model=model, tiles=len(batch))
        except Exception as error:  # noqa: BLE001  the loop must outlive whatever this is
            for job_id in dict.fromkeys(tile.job_id for tile in batch):
                self._fail(self.held[job_id], error)
            return
        batch_s = time.monotonic() - started_s
        record_forward(len(batch), padded_tiles(len(batch)), batch_s, model)
        tile_s = batch_s / len(batch)
        self._tile_s[model] = MEAN_KEEPS * self._tile_s.get(model, tile_s) + (1 - MEAN_KEEPS) * tile_s
        self._engine.limit_batch(self._models.batch_tiles(model), model)
        for job_id, failure in report.failed.items():
            self._fail(self.held[job_id], failure)
        for job_id in self._engine.complete(report.ran):
            await self._end_step(self.held[job_id])

    async def _end_step(self, held: HeldJob) -> None:
        try:
            preview = await self._take_preview(held) if self._previews.is_wanted(held) else None
            await self._threads.in_model("end_step", self._models.end_step, held.id, job=held.id, step=held.step)
            restored = None
            if self._engine.step_done(held.id):
                restored = await self._threads.in_model("finish", self._models.finish, held.id, job=held.id)
        except Exception as error:  # noqa: BLE001  only this job is lost
            self._fail(held, error)
            return
        held.step += 1
        record_step(held.model)
        self.courier.report(held)
        if preview is not None:
            self._previews.show(held, preview)
        if restored is not None:
            self._take_out(held)
            held.task = asyncio.create_task(self._deliver(held, restored))

    async def _take_preview(self, held: HeldJob) -> PixelArray | None:
        longest_px = self._previews.policy.longest_px
        try:
            return await self._threads.in_model("preview", self._models.preview, held.id, longest_px, job=held.id)
        except Exception:
            logger.exception("no preview can be taken", extra=held.record)  # the job itself goes on
            return None

    async def _deliver(self, held: HeldJob, restored: RestoredPhoto) -> None:
        held.pixel_bytes = self._models.estimate_pixel_bytes(*held.size)
        try:
            data, media_type = await self._threads.in_photo("encode", self._models.encode, restored, job=held.id)
        except Exception as error:  # noqa: BLE001  only this job is lost
            self._free_pixels(held)
            await self.outcomes.failed(held, error)
            return
        del restored  # 12 bytes per pixel; the queue may be away for long
        self._free_pixels(held)

        async def finish(claim: Claim) -> bool:
            with self._threads.trace.span("deliver", "queue", job=held.id):
                return await self._queue.finish(
                    claim,
                    data,
                    media_type,
                    caption=held.caption,
                    findings=held.findings,
                    steps_total=held.steps_total,
                    model=held.model,
                )

        await self.outcomes.settle(held, "succeeded", finish)

    def _take_out(self, held: HeldJob) -> None:
        """Free a job's place in engine and model; what is left is to tell the queue."""
        self._engine.remove(held.id)
        self._models.discard(held.id)
        for line in (self._undecoded, self._waiting):
            if held in line:
                line.remove(held)
        held.upload = held.preview = None
        held.phase = Phase.DELIVERING
        self._free_pixels(held)
        self._work.set()

    def _fail(self, held: HeldJob, error: Exception) -> None:
        self._take_out(held)
        held.task = asyncio.create_task(self.outcomes.failed(held, error))

    def _settle_leave(self, held: HeldJob, leave: Leave | None) -> None:
        if leave is Leave.CANCELED:
            held.task = asyncio.create_task(self.outcomes.canceled(held))
        elif leave is Leave.HAND_BACK:
            held.task = asyncio.create_task(self.outcomes.handed_back(held))
        else:  # at once, so that no fresh claim of the job can come in between
            self.outcomes.forget(held, "lost")


def padded_tiles(tiles: int) -> int:
    """Tell how many empty places the model adds to a forward, which it fills up to 2, 4, 8, ... tiles."""
    return max(2, 1 << (tiles - 1).bit_length()) - tiles
