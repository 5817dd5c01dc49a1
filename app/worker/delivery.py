"""A restored photo on its way out: encoded off the model's thread, then committed with the job's end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.jobs.queue import Claim, JobQueue
    from app.worker.held import HeldJob
    from app.worker.models import ModelSet
    from app.worker.outcomes import Outcomes
    from app.worker.stages import AnalyzedPhoto, RestoredPhoto
    from app.worker.threads import Threads


class Delivery:
    """Encodes and commits.

    Args:
        models: What encodes.
        threads: Where.
        queue: Where results go.
        outcomes: Tells how jobs ended.
        free_pixels: Called when the photo of a job is not kept as pixels any more.
    """

    def __init__(
        self,
        models: ModelSet,
        threads: Threads,
        queue: JobQueue,
        outcomes: Outcomes,
        free_pixels: Callable[[HeldJob], None],
    ) -> None:
        self._models, self._threads, self._queue = models, threads, queue
        self._outcomes, self._free_pixels = outcomes, free_pixels

    async def deliver(self, held: HeldJob, restored: RestoredPhoto | AnalyzedPhoto) -> None:
        """End a job with its photo, or what was seen in it, or with the reason why that cannot be written as a file."""
        held.pixel_bytes = self._models.estimate_pixel_bytes(*held.size)
        try:
            data, media_type = await self._threads.in_photo(
                "encode", self._models.encode, restored, is_express=held.is_express, job=held.id
            )
        except Exception as error:  # noqa: BLE001  only this job is lost
            self._free_pixels(held)
            await self._outcomes.failed(held, error)
            return
        del restored  # 12 bytes per pixel; the queue may be away for long
        self._free_pixels(held)

        async def finish(claim: Claim) -> bool:
            with self._threads.trace.wait("deliver", "queue", job=held.id):
                return await self._queue.finish(
                    claim,
                    data,
                    media_type,
                    caption=held.caption,
                    findings=held.findings,
                    steps_total=held.steps_total,
                    model=held.model,
                )

        await self._outcomes.settle(held, "succeeded", finish)
