"""A job in this worker's hands, from claim to commit: plain data of the loop."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from app.jobs.job import INTERACTIVE
from app.tracing.context import trace_id_of
from app.worker.deadlines import NO_DEADLINE, Deadline

if TYPE_CHECKING:
    from app.images import PixelArray
    from app.jobs.job import Finding
    from app.jobs.queue import Claim
    from app.worker.stages import DecodedPhoto

EXPRESS_SIZE = (1920, 1080)
"""A photo of at most this many pixels is small: its work and its memory are little beside those of 24 megapixels."""


class Phase(Enum):
    """How far a held job is."""

    CLAIMED = "claimed"  # still the bytes of the upload, for want of memory for its pixels
    DECODING = "decoding"
    WAITING = "waiting"  # decoded, not yet admitted by the engine
    RUNNING = "running"
    DELIVERING = "delivering"  # encoding, or being committed as succeeded, failed, canceled or handed back


class Leave(Enum):
    """Why a job must leave before it is done."""

    LOST = "lost"  # another worker has it, or it is over
    CANCELED = "canceled"
    HAND_BACK = "hand back"


@dataclass(eq=False)
class HeldJob:
    """One claimed job.

    Attributes:
        claim: The claim that speaks for the job, without the upload; replaced when this worker claims the job again.
        upload: Bytes of photo and mask until they are decoded.
        pixel_bytes: Memory of the photo while it is decoded but not begun, and while it is restored but not encoded.
        state_bytes: Memory of its state while it is worked on.
        successor: The whole claim that came while an outcome was being told; it counts once that outcome is settled.
        decoded: The photo between decoding and admission.
        is_looked_at: The model has seen the photo, together with others, before it begins.
        model: Name of the model that works on it; empty when this worker does not have the one that was asked for.
        leave: Set when the job must leave; acted upon between steps.
        task: What decodes or delivers it, kept so that it is not garbage collected.
        deadline: When it must have begun and be done, on the workbench's clock.
        is_watched: Somebody listened to its events when the queue was last asked.
        preview: Steps done and (h, w, 3) uint8 pixels that wait to be sent; `preview_task` is what sends them.
        reporter: What sends progress; `is_report_due` says that there is news since it last looked.
        claimed_s: When it was claimed, on the monotonic clock.
        marks: Finished steps and when that was, on the same clock; the first is the beginning, with none.
    """

    claim: Claim
    upload: tuple[bytes, bytes | None] | None = None
    phase: Phase = Phase.CLAIMED
    pixel_bytes: int = 0
    state_bytes: int = 0
    successor: Claim | None = None
    decoded: DecodedPhoto | None = None
    is_looked_at: bool = False
    model: str = ""
    leave: Leave | None = None
    step: int = 0
    steps_total: int = 0
    caption: str | None = None
    findings: tuple[Finding, ...] = ()
    task: asyncio.Task[None] | None = None
    reporter: asyncio.Task[None] | None = None
    is_report_due: bool = False
    deadline: Deadline = NO_DEADLINE
    is_watched: bool = False
    preview: tuple[int, PixelArray] | None = None
    preview_task: asyncio.Task[None] | None = None
    claimed_s: float = field(default_factory=time.monotonic)
    marks: list[tuple[int, float]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Id of the job."""
        return self.claim.job.id

    @property
    def record(self) -> dict[str, str]:
        """What log records about the job carry."""
        traceparent = self.claim.job.traceparent
        return {"job_id": self.id} | ({} if traceparent is None else {"trace_id": trace_id_of(traceparent)})

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the photo in pixels."""
        return self.claim.job.width, self.claim.job.height

    @property
    def is_express(self) -> bool:
        """Whether somebody waits for it and it is small, so that it must begin soon whatever else is going on."""
        width, height = self.size
        return self.is_interactive and width * height <= EXPRESS_SIZE[0] * EXPRESS_SIZE[1]

    @property
    def is_interactive(self) -> bool:
        """Whether somebody waits for it."""
        return self.claim.job.priority == INTERACTIVE

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Everything that is under way for the job."""
        return [task for task in (self.task, self.reporter, self.preview_task) if task is not None]

    @property
    def is_begun(self) -> bool:
        """Whether it has been begun, or is over without."""
        return self.phase in (Phase.RUNNING, Phase.DELIVERING)

    @property
    def is_between_steps(self) -> bool:
        """Whether the job can leave now without waiting for something else to end."""
        return self.phase in (Phase.CLAIMED, Phase.WAITING, Phase.RUNNING)


def without_upload(claim: Claim) -> Claim:
    """Give the claim without the bytes of photo and mask, which may be kept for as long as the job is held."""
    return replace(claim, image=b"", mask=None)
