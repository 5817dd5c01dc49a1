"""The jobs that have begun: one batch after the other, step after step, until a photo is restored.

An exception of one job ends that job alone. Only a device that is lost ends more: what it worked on at that moment
counts one failed attempt, and whoever calls gives the rest away.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from app.errors import ServiceError
from app.jobs.job import ANALYZE
from app.metrics import record_forward, record_step
from app.worker.engine import Engine, JobShape, TileRef
from app.worker.faults import DeviceLostError, UnexpectedError
from app.worker.held import HeldJob, Phase

if TYPE_CHECKING:
    from app.images import PixelArray
    from app.worker.courier import Courier
    from app.worker.models import ModelSet
    from app.worker.previews import Previews
    from app.worker.stages import AnalyzedPhoto, BegunJob, DecodedPhoto, RestoredPhoto
    from app.worker.threads import Threads

logger = logging.getLogger(__name__)

T = TypeVar("T")

MEAN_KEEPS = 0.9
"""Weight of the past in the running mean of the time per tile."""


class Computing:
    """Runs jobs in the model's thread.

    Args:
        models: Loaded and warm.
        engine: Says what runs next.
        held: All jobs of this worker by id.
        threads: Among them the model's.
        courier: Tells how far jobs are.
        previews: Shows them to those who listen.
        on_failed: Called with a job that cannot go on, and why.
        on_restored: Called with a job whose last step is done, and its photo; or what was seen, if that is all.
    """

    def __init__(
        self,
        models: ModelSet,
        engine: Engine,
        held: dict[str, HeldJob],
        threads: Threads,
        courier: Courier,
        previews: Previews,
        on_failed: Callable[[HeldJob, Exception], None],
        on_restored: Callable[[HeldJob, RestoredPhoto | AnalyzedPhoto], None],
    ) -> None:
        self._models, self._engine, self._held, self._threads = models, engine, held, threads
        self._courier, self._previews = courier, previews
        self._on_failed, self._on_restored = on_failed, on_restored
        self._tile_s: dict[str, float] = {}  # running mean of the time per tile, by model

    def remaining_s(self, held: HeldJob) -> float:
        """Estimate the time that the job's own tiles will still take; infinite before it has begun."""
        if held.phase is Phase.DELIVERING:
            return 0.0
        if held.id not in self._engine:
            return float("inf")
        return self._engine.status(held.id).tiles_left * self._tile_s.get(held.model, 0.0)

    async def begin(self, held: HeldJob, others: Sequence[HeldJob]) -> bool:
        """Let a decoded job take part from the next batch on.

        Args:
            held: The job.
            others: Decoded ones for the same model, which may be looked at together with it.

        Returns:
            Whether it has begun; if not, it has ended.

        Raises:
            DeviceLostError: The device is lost.
        """
        try:
            await self._look_ahead(held, others)
            if held.claim.job.options.task == ANALYZE:
                await self._analyze(held)
                return False
            begun = await self._set_up(held)
        except Exception as error:  # noqa: BLE001  only this job is lost
            self._end(error, held)
            return False
        job = held.claim.job
        held.phase, held.state_bytes = Phase.RUNNING, begun.state_bytes
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
        self._courier.report(held)
        return True

    async def run_batch(self, batch: Sequence[TileRef]) -> None:
        """Run tiles that the engine chose and end the steps that this completes.

        Raises:
            DeviceLostError: The device is lost.
        """
        helds = [self._held[job_id] for job_id in dict.fromkeys(tile.job_id for tile in batch)]
        model = helds[0].model  # that of all of them
        started_s = time.monotonic()
        try:
            report = await self._in_model("forward", self._models.run, batch, model=model, tiles=len(batch))
            if any(isinstance(failure, UnexpectedError) for failure in report.failed.values()):
                await self._probe()
        except Exception as error:  # noqa: BLE001  the loop must outlive whatever this is
            self._end(error, *helds)
            return
        batch_s = time.monotonic() - started_s
        record_forward(len(batch), self._models.padded_tiles(model, len(batch)), batch_s, model)
        tile_s = batch_s / len(batch)
        self._tile_s[model] = MEAN_KEEPS * self._tile_s.get(model, tile_s) + (1 - MEAN_KEEPS) * tile_s
        self._engine.limit_batch(self._models.batch_tiles(model), model)
        for job_id, failure in report.failed.items():
            self._on_failed(self._held[job_id], failure)
        for job_id in self._engine.complete(report.ran):
            await self._end_step(self._held[job_id])

    async def _look_ahead(self, held: HeldJob, others: Sequence[HeldJob]) -> None:
        """Look at the photo that begins together with those behind it, where that is faster than one by one."""
        most = self._models.looks_together(held.model)
        if most == 1 or held.is_looked_at:
            return
        group = [held, *(other for other in others if not other.is_looked_at)][:most]
        photos = [(other.id, other.decoded, other.claim.job.options) for other in group if other.decoded is not None]
        await self._in_model("look", self._models.look, held.model, photos, photos=len(photos))
        for other in group:
            other.is_looked_at = True

    async def _analyze(self, held: HeldJob) -> None:
        """End a job that is to look at its photo only; it needs no state and no tile."""
        options, tile_s = held.claim.job.options, self._tile_s.get(held.model)
        analyzed = await self._in_model(
            "analyze", self._models.analyze, held.id, _decoded_of(held), options, tile_s, job=held.id
        )
        held.caption, held.findings = analyzed.caption, analyzed.findings
        self._on_restored(held, analyzed)

    async def _set_up(self, held: HeldJob) -> BegunJob:
        decoded = _decoded_of(held)
        return await self._in_model("begin", self._models.begin, held.id, decoded, held.claim.job.options, job=held.id)

    async def _end_step(self, held: HeldJob) -> None:
        restored = None
        try:
            preview = await self._take_preview(held) if self._previews.is_wanted(held) else None
            await self._in_model("end_step", self._models.end_step, held.id, job=held.id, step=held.step)
            if self._engine.step_done(held.id):
                restored = await self._in_model("finish", self._models.finish, held.id, job=held.id)
        except Exception as error:  # noqa: BLE001  only this job is lost
            self._end(error, held)
            return
        held.step += 1
        record_step(held.model)
        self._courier.report(held)
        if preview is not None:
            self._previews.show(held, preview)
        if restored is not None:
            self._on_restored(held, restored)

    async def _take_preview(self, held: HeldJob) -> PixelArray | None:
        longest_px = self._previews.policy.longest_px
        try:
            return await self._in_model("preview", self._models.preview, held.id, longest_px, job=held.id)
        except DeviceLostError:
            raise
        except Exception:
            logger.exception("no preview can be taken", extra=held.record)  # the job itself goes on
            return None

    async def _in_model(self, name: str, function: Callable[..., T], *args: object, **details: object) -> T:
        """Run a function in the model's thread; after an error that nobody foresaw, ask whether the device is well."""
        try:
            return await self._threads.in_model(name, function, *args, **details)
        except Exception as error:
            is_foreseen = isinstance(error, ServiceError) and not isinstance(error, UnexpectedError)
            if not is_foreseen and not isinstance(error, DeviceLostError):
                await self._probe()
            raise

    async def _probe(self) -> None:
        await self._threads.in_model("probe", self._models.probe)

    def _end(self, error: Exception, *jobs: HeldJob) -> None:
        """End jobs with an error; the loss of the device goes on from here."""
        if not isinstance(error, DeviceLostError):
            for held in jobs:
                self._on_failed(held, error)
            return
        for held in jobs:
            # It counts as an attempt, else a photo that kills devices would go round for ever.
            self._on_failed(held, UnexpectedError("The device failed while it worked on this photo."))
        raise error


def _decoded_of(held: HeldJob) -> DecodedPhoto:
    """Take a job's photo from it, so that nothing else keeps the pixels."""
    decoded, held.decoded = held.decoded, None
    if decoded is None:
        raise RuntimeError(f"job {held.id} waits without a decoded photo")
    return decoded
