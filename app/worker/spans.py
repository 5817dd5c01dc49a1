"""A job in this worker as spans: the wait in the queue, the preparation, each step, the delivery."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from app.tracing.spans import Span, Value, add_span, epoch_s, is_tracing

if TYPE_CHECKING:
    from app.worker.held import HeldJob


def trace_job(held: HeldJob, outcome: str, code: str | None) -> None:
    """Tell whoever collects spans about a job that has left; without effect when nobody does.

    Args:
        held: The job, with its marks.
        outcome: One of `app.metrics.OUTCOMES`.
        code: Error code of a failure.
    """
    if not is_tracing():
        return
    job, claimed_s, ended_s = held.claim.job, epoch_s(held.claimed_s), epoch_s(time.monotonic())
    of_job: dict[str, Value] = {"vlmir.job.id": job.id, "vlmir.tenant": job.tenant, "vlmir.attempt": job.attempt}
    if job.attempt == 1:  # when a later attempt went back to the queue is not known here
        wait = Span("queue wait", epoch_s(held.claim.accepted_s), claimed_s, of_job | {"vlmir.priority": job.priority})
        add_span(wait, job.traceparent)
    width, height = held.size
    about: dict[str, Value] = {
        "vlmir.outcome": outcome,
        "vlmir.model": held.model,
        "vlmir.width": width,
        "vlmir.height": height,
        "vlmir.steps": held.step,
    }
    error = (code or outcome) if outcome in ("failed", "lost") else None
    add_span(Span("job", claimed_s, ended_s, of_job | about, error, _parts(held, claimed_s, ended_s)), job.traceparent)


def _parts(held: HeldJob, claimed_s: float, ended_s: float) -> list[Span]:
    if not held.marks:
        return []
    marks = [(step, epoch_s(mark_s)) for step, mark_s in held.marks]
    parts = [Span("prepare", claimed_s, marks[0][1])]
    parts += [
        Span("step", start_s, end_s, {"vlmir.step": step}) for (_, start_s), (step, end_s) in itertools.pairwise(marks)
    ]
    return [*parts, Span("deliver", marks[-1][1], ended_s)]
