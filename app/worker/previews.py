"""Small pictures of jobs in progress for those who listen, at no cost to the others.

The model's thread only picks some of the pixels, and only for jobs that somebody listens to. Encoding is done in a
photo thread and sending when the queue has time; a job has one preview under way at most, and a newer one takes the
place of one that waits.
"""

from __future__ import annotations

import asyncio
import io
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from app.errors import QueueUnavailableError
from app.jobs.previews import MAX_PREVIEW_BYTES, Preview
from app.metrics import record_preview
from app.worker.courier import end_tasks

if TYPE_CHECKING:
    from app.images import PixelArray
    from app.jobs.queue import JobQueue
    from app.settings import Settings
    from app.worker.courier import Courier
    from app.worker.held import HeldJob
    from app.worker.threads import Threads

logger = logging.getLogger(__name__)

QUALITIES = (75, 50, 25, 5)
"""Tried one after the other until the file is small enough."""


@dataclass(frozen=True)
class PreviewPolicy:
    """When previews are made and how large.

    Args:
        every: Steps from one to the next; 0 makes none.
        longest_px: Longest side.
    """

    every: int = 1
    longest_px: int = 256

    @classmethod
    def of(cls, settings: Settings) -> PreviewPolicy:
        """Give the policy that the settings ask for."""
        return cls(settings.preview_every, settings.preview_px)

    def is_due(self, step: int, steps_total: int) -> bool:
        """Say whether the step that is about to end deserves a preview.

        The result itself comes as soon as the next preview would when no more than `every` steps are left.

        Args:
            step: Steps done before it.
            steps_total: Steps in all.
        """
        return self.every > 0 and (step + 1) % self.every == 0 and steps_total - step > self.every


class Previews:
    """Encodes and sends previews of held jobs.

    Args:
        policy: When and how large.
        queue: Where they go.
        courier: What learns from the queue's answers.
        threads: Where they are encoded.
    """

    def __init__(self, policy: PreviewPolicy, queue: JobQueue, courier: Courier, threads: Threads) -> None:
        self.policy = policy
        self._queue, self._courier, self._threads = queue, courier, threads
        self._tasks: set[asyncio.Task[None]] = set()  # one per job, which may have left meanwhile

    async def close(self) -> None:
        """Drop what has not been sent."""
        await end_tasks(self._tasks)

    def is_wanted(self, held: HeldJob) -> bool:
        """Say whether the step that is about to end is to be shown to somebody."""
        return held.is_watched and self.policy.is_due(held.step, held.steps_total)

    def show(self, held: HeldJob, pixels: PixelArray) -> None:
        """Send a preview soon.

        Args:
            held: The job; its count of steps includes the one that is shown.
            pixels: (h, w, 3) uint8.
        """
        held.preview = (held.step, pixels)
        if held.preview_task is None or held.preview_task.done():
            held.preview_task = asyncio.create_task(self._send(held))
            self._tasks.add(held.preview_task)
            held.preview_task.add_done_callback(self._tasks.discard)

    async def _send(self, held: HeldJob) -> None:
        while held.preview is not None:
            (step, pixels), held.preview = held.preview, None
            claim, height, width = held.claim, *pixels.shape[:2]
            try:
                data = await self._threads.in_photo("preview", encode_preview, pixels, job=held.id)
                if data is None:
                    continue
                preview = Preview(step, held.steps_total, width, height, "image/webp", data)
                self._courier.note(held, claim, await self._queue.preview(claim, preview))
                record_preview(len(data))
            except QueueUnavailableError:
                pass  # a courtesy, as progress is; at the memory limit it would take the place of results
            except Exception:
                logger.exception("its preview is not sent", extra=held.record)


def encode_preview(pixels: PixelArray) -> bytes | None:
    """Give (h, w, 3) uint8 pixels as a small WebP file; None when it is too large whatever the quality."""
    for quality in QUALITIES:
        target = io.BytesIO()
        Image.fromarray(pixels).save(target, "WEBP", quality=quality, method=2)
        if len(target.getvalue()) <= MAX_PREVIEW_BYTES:
            return target.getvalue()
    return None
