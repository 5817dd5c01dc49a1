"""Does the model's thread wait for photos to be decoded or encoded? A real workbench under a trace.

Photos come as PNG files through a real queue; decoding, the model and encoding run in the threads that they have in the
service.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.bench.photos import Size, make_file
from app.errors import JobFailedError
from app.jobs.embedded import EmbeddedRedis
from app.jobs.job import Job, JobState, RestoreOptions, new_job_id
from app.jobs.queue import JobQueue
from app.worker.courier import end_tasks
from app.worker.models import ModelSet
from app.worker.trace import Span, Trace
from app.worker.workbench import Workbench

MODEL_THREAD, PHOTO_THREADS = "model", "photo"
"""How the names of the workbench's threads begin."""

LOADING = "load"
"""Name of the span in which the models are loaded, before there is any work."""

_LEASE_S = 60.0
_CLAIM_MS = 200
_WORKER = "bench"

Interval = tuple[float, float]


@dataclass(frozen=True)
class Overlap:
    """What a trace of a workbench with waiting jobs says.

    Attributes:
        window_s: From the first span of the model's thread to its last one; jobs wait or run all the while.
        model_busy_s: Time in which the model's thread worked.
        photo_busy_s: Time in which at least one photo thread worked, in the window or not.
        both_busy_s: Time in which both did.
        idle_beside_photo_s: Time in the window in which the model's thread did not work but a photo thread did: the
            most that it can have waited for a photo.
        longest_idle_s: Longest pause of the model's thread in the window.
    """

    window_s: float
    model_busy_s: float
    photo_busy_s: float
    both_busy_s: float
    idle_beside_photo_s: float
    longest_idle_s: float

    @property
    def overlapped_share(self) -> float:
        """Share of the model's busy time in which a photo thread was busy too."""
        return self.both_busy_s / self.model_busy_s

    @property
    def hidden_share(self) -> float:
        """Share of the photo threads' busy time that the model's thread worked through."""
        return self.both_busy_s / self.photo_busy_s if self.photo_busy_s else 1.0

    @property
    def idle_share(self) -> float:
        """Share of the window in which the model's thread did nothing though work was there."""
        return 1 - self.model_busy_s / self.window_s

    @property
    def waiting_share(self) -> float:
        """Share of the window in which it may have waited for a photo."""
        return self.idle_beside_photo_s / self.window_s


def trace_workbench(make_models: Callable[[], ModelSet], sizes: Sequence[Size], steps: int, concurrency: int) -> Trace:
    """Restore PNG files of these sizes, all waiting from the start, in a workbench; gives what its threads did.

    Args:
        make_models: Gives the models, loaded and warm.
        sizes: Of the photos.
        steps: Denoising steps of every photo.
        concurrency: Most jobs that the workbench holds at once.

    Raises:
        EmbeddedRedisError: There is no Redis server to run.
        JobFailedError: A photo was not restored.
    """
    files = [make_file(size, index, "PNG") for index, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory(prefix="vlmir-bench-") as folder:
        redis = EmbeddedRedis(Path(folder))
        redis.start()
        try:
            return asyncio.run(_trace(redis.url, make_models, list(zip(sizes, files, strict=True)), steps, concurrency))
        finally:
            redis.stop()


def measure_overlap(spans: Iterable[Span]) -> Overlap:
    """Read the figures off a trace.

    Raises:
        ValueError: The model's thread did nothing.
    """
    spans = [span for span in spans if span.name != LOADING]
    model = union((span.start_s, span.end_s) for span in spans if span.thread.startswith(MODEL_THREAD))
    photo = union((span.start_s, span.end_s) for span in spans if span.thread.startswith(PHOTO_THREADS))
    if not model:
        raise ValueError(f"the trace has no span of a thread named {MODEL_THREAD}..., expected at least one")
    pauses = [(first[1], second[0]) for first, second in itertools.pairwise(model)]
    return Overlap(
        window_s=model[-1][1] - model[0][0],
        model_busy_s=length(model),
        photo_busy_s=length(photo),
        both_busy_s=length(intersection(model, photo)),
        idle_beside_photo_s=length(intersection(pauses, photo)),
        longest_idle_s=max((end - start for start, end in pauses), default=0.0),
    )


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time as intervals that do not touch, in order."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def intersection(first: Sequence[Interval], second: Sequence[Interval]) -> list[Interval]:
    """Time that lies in both; each must be in order and free of overlaps."""
    found, here, there = [], 0, 0
    while here < len(first) and there < len(second):
        start, end = max(first[here][0], second[there][0]), min(first[here][1], second[there][1])
        if start < end:
            found.append((start, end))
        if first[here][1] <= second[there][1]:
            here += 1
        else:
            there += 1
    return found


def length(intervals: Iterable[Interval]) -> float:
    """Sum of the lengths."""
    return sum(end - start for start, end in intervals)


async def _trace(
    url: str, make_models: Callable[[], ModelSet], photos: Sequence[tuple[Size, bytes]], steps: int, concurrency: int
) -> Trace:
    queue, trace = JobQueue.from_url(url), Trace()
    bench = Workbench(make_models, queue, _LEASE_S, concurrency, trace=trace)
    tasks: list[asyncio.Task[None]] = []
    try:
        await queue.ensure()
        jobs = [await queue.submit(_make_job(size, data, steps), data) for size, data in photos]
        await bench.set_up()
        tasks = [
            asyncio.create_task(bench.compute_forever()),
            asyncio.create_task(bench.courier.keep_leases(bench.held.values)),
        ]
        accepted = 0
        while accepted < len(jobs) or bench.held:
            bench.left.clear()
            room = min(bench.room(), len(jobs) - accepted)
            claims = await queue.claim(_WORKER, room, _CLAIM_MS) if room else []
            for claim in claims:
                bench.accept(claim)
            accepted += len(claims)
            if not claims:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(bench.left.wait(), _CLAIM_MS / 1000)
            for task in tasks:
                if task.done():
                    task.result()  # raises what broke it
        for job in jobs:
            ended = await queue.get(job.id)
            if ended.state is not JobState.SUCCEEDED:
                raise JobFailedError(f"A traced job ended as {ended.state.value}: {ended.error_detail}")
    finally:
        await end_tasks(tasks)
        await bench.close()
        await queue.close()
    return trace


def _make_job(size: Size, data: bytes, steps: int) -> Job:
    return Job(
        id=new_job_id(),
        media_type="image/png",
        width=size[0],
        height=size[1],
        input_bytes=len(data),
        created_ms=int(time.time() * 1000),
        options=RestoreOptions(steps=steps),
    )
