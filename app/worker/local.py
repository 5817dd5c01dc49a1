"""The same engine and runner without a queue: one photo at a time in this process, for the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.worker.engine import Engine, EnginePolicy, JobShape

if TYPE_CHECKING:
    from app.jobs.job import Finding, RestoreOptions
    from app.worker.runner import Runner

JOB = "local"


@dataclass(frozen=True)
class LocalResult:
    """A restored photo as a file, and what was found out about it."""

    data: bytes
    media_type: str
    caption: str | None
    findings: tuple[Finding, ...]
    steps: int


def restore_locally(
    runner: Runner,
    image: bytes,
    options: RestoreOptions,
    mask: bytes | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> LocalResult:
    """Restore one photo with the model in this process.

    Args:
        runner: Loaded; need not be warm.
        image: Bytes of the photo.
        options: What is asked for.
        mask: Bytes of a mask image, or None.
        on_progress: Called with the tiles done and the tiles of all steps; None for silence.

    Raises:
        ServiceError: This photo cannot be restored.
    """
    begun = runner.begin(JOB, runner.decode(image, mask), options)
    engine = Engine(EnginePolicy(runner.batch_tiles))
    engine.add(JobShape(JOB, begun.tiles, begun.steps, state_bytes=begun.state_bytes))
    total = begun.tiles * begun.steps
    try:
        while batch := engine.next_batch():
            report = runner.run(batch)
            for error in report.failed.values():
                raise error
            engine.limit_batch(runner.batch_tiles)
            for job_id in engine.complete(report.ran):
                runner.end_step(job_id)
                engine.step_done(job_id)
            if on_progress is not None:
                on_progress(total - engine.status(JOB).tiles_left, total)
        restored = runner.finish(JOB)
    finally:
        runner.discard(JOB)
    data, media_type = runner.encode(restored)
    return LocalResult(data, media_type, begun.caption, begun.findings, begun.steps)
