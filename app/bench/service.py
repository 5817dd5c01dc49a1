"""A running service under load: as many clients as there are, or photos that come when they come.

Latencies of jobs are the service's own (acceptance to the end of the job), so that polling adds nothing to them. Where
photos come at planned moments, the time from that moment to the acceptance is added: a service that is slow to take
photos, or a load generator that is late, must not look better for it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from app.bench.arrivals import Arrival, Latency, summarize
from app.bench.photos import SIZES, Size, make_file
from app.client import RemoteJob, VlmirClient
from app.errors import JobFailedError
from app.jobs.job import JobState

_LONGEST_S = 1800.0
_SENDERS = 64
"""Uploads at a time. Nobody waits for a job to end before the next photo is sent."""


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
        held_up: Photos that were sent late, because all senders were still uploading; their latency counts from their
            moment all the same.
    """

    name: str
    seconds: float
    succeeded: int
    failed: int
    jobs_per_s: float
    latencies: tuple[Latency, ...]
    held_up: int = 0


@dataclass(frozen=True)
class Company:
    """What small jobs and a large one do to each other.

    Attributes:
        idle: Latencies of small jobs on an idle service.
        beside: Likewise, while the large one ran.
        large_alone_s: Latency of the large job on an idle service.
        large_beside_s: Likewise, with the small jobs.
        large_tile_steps: Work of the large job.
        small_tile_steps: Work of all small jobs that ran beside it.
    """

    idle: Latency
    beside: Latency
    large_alone_s: float
    large_beside_s: float
    large_tile_steps: int
    small_tile_steps: int

    @property
    def small_ratio(self) -> float:
        """A small job's p95 beside the large one over its p95 alone; the goal is 2 at most."""
        return self.beside.p95_s / self.idle.p95_s

    @property
    def slowdown(self) -> float:
        """How many times longer the large job took in company."""
        return self.large_beside_s / self.large_alone_s

    @property
    def slowdown_by_work(self) -> float:
        """How many times longer it must take, since the device runs the small jobs' tile-steps too."""
        return 1 + self.small_tile_steps / self.large_tile_steps

    @property
    def excess(self) -> float:
        """What the large job lost beyond that, as a share; the goal is 0.1 at most."""
        return self.slowdown / self.slowdown_by_work - 1


def closed_loop(url: str, sizes: Sequence[str], clients: int, jobs: int) -> Load:
    """`clients` callers that each wait for their photo before they send the next, `jobs` in all, sizes in turn."""
    photos = {size: make_file(SIZES[size], 0) for size in set(sizes)}
    order = list(itertools.islice(itertools.cycle(sizes), jobs))
    started = time.monotonic()
    with VlmirClient(url) as client, ThreadPoolExecutor(clients) as pool:
        ended = list(pool.map(lambda size: (size, _serve(client, photos[size]), 0.0), order))
    return _load(f"closed loop, {clients} clients", time.monotonic() - started, ended)


def open_loop(url: str, arrivals: Sequence[Arrival], name: str) -> Load:
    """Photos that come at their times, whether or not the service keeps up; latencies count from those times."""
    photos = {size: make_file(SIZES[size], 0) for size in {arrival.size for arrival in arrivals}}
    started = time.monotonic()
    held_up = 0
    with VlmirClient(url) as client, ThreadPoolExecutor(_SENDERS) as pool:
        sending: list[tuple[str, Future[tuple[str, float]]]] = []
        for arrival in arrivals:
            due_s = started + arrival.at_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            held_up += sum(not sent.done() for _, sent in sending) >= _SENDERS
            sending.append((arrival.size, pool.submit(_send, client, photos[arrival.size], due_s)))
        ended = []
        for size, sent in sending:
            job_id, late_s = sent.result()
            ended.append((size, client.wait(job_id, timeout_s=_LONGEST_S), late_s))
    return _load(name, time.monotonic() - started, ended, held_up)


def small_beside_large(url: str, small: str, large: str, jobs: int, count_tiles: Callable[[Size], int]) -> Company:
    """Small jobs, one after the other, on an idle service and beside one large job; that one alone, and beside them.

    Args:
        url: Of the service.
        small: Size of the small photos.
        large: Size of the large one.
        jobs: Small jobs in each part, fewer beside the large one if that ends sooner.
        count_tiles: Gives the tiles of a photo, to say how much work each job is.

    Raises:
        JobFailedError: A job failed, or none ended while the large one ran.
    """
    photo, photos = make_file(SIZES[large], 0), [make_file(SIZES[small], index) for index in range(jobs)]
    with VlmirClient(url) as client:
        idle = [_succeed(client, small_photo) for small_photo in photos]
        alone = _succeed(client, photo)
        running = client.submit(photo, seed=1)
        beside: list[RemoteJob] = []
        while client.job(running).state in (JobState.QUEUED, JobState.RUNNING) and len(beside) < jobs:
            job = _succeed(client, photos[len(beside)])
            if client.job(running).state is JobState.RUNNING:  # those that outlived it had company for a part only
                beside.append(job)
        ended = client.wait(running, timeout_s=_LONGEST_S)
    if ended.state is not JobState.SUCCEEDED or not beside:
        raise JobFailedError(
            f"The {large} job ended as {ended.state.value}, {len(beside)} small jobs beside it: nothing to compare."
        )
    return Company(
        idle=next(summarize([(small, latency_s(job)) for job in idle])),
        beside=next(summarize([(small, latency_s(job)) for job in beside])),
        large_alone_s=latency_s(alone),
        large_beside_s=latency_s(ended),
        large_tile_steps=count_tiles(SIZES[large]) * (ended.steps_total or 1),
        small_tile_steps=sum(count_tiles(SIZES[small]) * (job.steps_total or 1) for job in beside),
    )


def latency_s(job: RemoteJob) -> float:
    """Seconds from acceptance to the end of a job that has ended."""
    timings = job.document["timings"]
    created, finished = (datetime.fromisoformat(timings[name]) for name in ("created_at", "finished_at"))
    return (finished - created).total_seconds()


def _send(client: VlmirClient, photo: bytes, due_s: float) -> tuple[str, float]:
    """Submit a photo; gives the job's id and the seconds from its moment to its acceptance."""
    job = client.submit(photo)
    return job.id, time.monotonic() - due_s


def _serve(client: VlmirClient, photo: bytes) -> RemoteJob:
    return client.wait(client.submit(photo), timeout_s=_LONGEST_S)


def _succeed(client: VlmirClient, photo: bytes) -> RemoteJob:
    job = _serve(client, photo)
    if job.state is not JobState.SUCCEEDED:
        raise JobFailedError(f"A job ended as {job.state.value} ({job.error_detail}): its latency would mean nothing.")
    return job


def _load(name: str, seconds: float, ended: Sequence[tuple[str, RemoteJob, float]], held_up: int = 0) -> Load:
    good = [(size, late_s + latency_s(job)) for size, job, late_s in ended if job.state is JobState.SUCCEEDED]
    latencies = tuple(summarize(good))
    return Load(name, seconds, len(good), len(ended) - len(good), len(good) / seconds, latencies, held_up)
