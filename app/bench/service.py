"""A running service under load: as many clients as there are, or photos that come when they come.

Latencies are the service's own (acceptance to the end of the job), so that neither upload nor polling adds to them.
"""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from PIL import Image

from app.bench.arrivals import Arrival, Latency, summarize
from app.client import RemoteJob, VlmirClient
from app.errors import JobFailedError
from app.jobs.job import JobState

SIZES: dict[str, tuple[int, int]] = {
    "thumbnail": (256, 256),
    "512": (512, 512),
    "2 MP": (1600, 1200),
    "24 MP": (6000, 4000),
}
_LONGEST_S = 1800.0
_MOST_IN_FLIGHT = 64


@dataclass(frozen=True)
class Load:
    """What a run came to.

    Attributes:
        name: Of the run.
        seconds: From the first submission to the end of the last job.
        succeeded: Jobs.
        failed: Jobs that ended in any other way.
        jobs_per_s: Succeeded jobs over the time.
        latencies: Per size.
    """

    name: str
    seconds: float
    succeeded: int
    failed: int
    jobs_per_s: float
    latencies: tuple[Latency, ...]


def closed_loop(url: str, sizes: Sequence[str], clients: int, jobs: int) -> Load:
    """`clients` callers that each wait for their photo before they send the next, `jobs` in all, sizes in turn."""
    photos = {size: make_photo(SIZES[size]) for size in set(sizes)}
    order = list(itertools.islice(itertools.cycle(sizes), jobs))
    started = time.monotonic()
    with VlmirClient(url) as client, ThreadPoolExecutor(clients) as pool:
        ended = list(pool.map(lambda size: (size, _serve(client, photos[size])), order))
    return _load(f"closed loop, {clients} clients", time.monotonic() - started, ended)


def open_loop(url: str, arrivals: Sequence[Arrival], name: str) -> Load:
    """Photos that come at their times, whether or not the service keeps up (up to 64 in flight)."""
    photos = {size: make_photo(SIZES[size]) for size in {arrival.size for arrival in arrivals}}
    started = time.monotonic()
    with VlmirClient(url) as client, ThreadPoolExecutor(_MOST_IN_FLIGHT) as pool:
        waiting = []
        for arrival in arrivals:
            time.sleep(max(0.0, started + arrival.at_s - time.monotonic()))
            waiting.append((arrival.size, pool.submit(_serve, client, photos[arrival.size])))
        ended = [(size, future.result()) for size, future in waiting]
    return _load(name, time.monotonic() - started, ended)


def small_beside_large(url: str, small: str, large: str, jobs: int) -> Mapping[str, Latency]:
    """Latency of small jobs sent one after the other, on an idle service and while one large job runs.

    Raises:
        JobFailedError: A job failed, or none ended while the large one ran.
    """
    alone = closed_loop(url, [small], 1, jobs)
    if alone.failed:
        raise JobFailedError(f"{alone.failed} of {jobs} small jobs failed on an idle service.")
    idle = alone.latencies[0]
    with VlmirClient(url) as client:
        running = client.submit(make_photo(SIZES[large]), seed=1)
        latencies: list[tuple[str, float]] = []
        while client.job(running).state in (JobState.QUEUED, JobState.RUNNING) and len(latencies) < jobs:
            job = _serve(client, make_photo(SIZES[small]))
            if job.state is not JobState.SUCCEEDED:
                raise JobFailedError(f"A small job ended as {job.state.value}: its latency would mean nothing.")
            if client.job(running).state is JobState.RUNNING:  # those that outlived it had company for a part only
                latencies.append((small, latency_s(job)))
        ended = client.wait(running, timeout_s=_LONGEST_S)
    if ended.state is not JobState.SUCCEEDED or not latencies:
        raise JobFailedError(
            f"The {large} job ended as {ended.state.value}, {len(latencies)} small jobs beside it: nothing to compare."
        )
    return {"idle": idle, f"beside {large}": next(summarize(latencies))}


def make_photo(size: tuple[int, int]) -> bytes:
    """A JPEG of slopes and grain."""
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    grain = np.random.default_rng(width).integers(0, 24, (height, width, 1))
    pixels = (np.stack([rows // 4, columns // 4, (rows + columns) // 8], -1) % 224 + grain).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", quality=88)
    return target.getvalue()


def latency_s(job: RemoteJob) -> float:
    """Seconds from acceptance to the end of a job that has ended."""
    timings = job.document["timings"]
    created, finished = (datetime.fromisoformat(timings[name]) for name in ("created_at", "finished_at"))
    return (finished - created).total_seconds()


def _serve(client: VlmirClient, photo: bytes) -> RemoteJob:
    return client.wait(client.submit(photo), timeout_s=_LONGEST_S)


def _load(name: str, seconds: float, ended: Sequence[tuple[str, RemoteJob]]) -> Load:
    good = [(size, latency_s(job)) for size, job in ended if job.state is JobState.SUCCEEDED]
    latencies = tuple(summarize(good))
    return Load(name, seconds, len(good), len(ended) - len(good), len(good) / seconds, latencies)
