"""Worker processes on a real Redis: one hangs in the middle of a job, the next one finishes it and then drains."""

from __future__ import annotations

import signal
import subprocess

import pytest

from app.jobs.job import JobState
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import open_queue, until
from tests.support.workers import noise_png, photo_job, read_pixels, start_worker_process

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
WAIT_S = 120.0  # a worker process imports torch first


async def runs_in(queue: JobQueue, job_id: str, attempt: int) -> bool:
    job = await queue.get(job_id)
    assert not job.state.is_terminal, job
    return job.attempt >= attempt and job.step >= 1


async def test_hanging_workers_job_is_finished_by_the_next_which_drains(redis_url: str, namespace: str) -> None:
    processes: list[subprocess.Popen[bytes]] = []
    try:
        async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=2000)) as queue:
            job = await queue.submit(photo_job(400, 400, steps=30), noise_png(400, 400))
            processes += [start_worker_process(redis_url, namespace, LEASE_S="2", WORKER_CONCURRENCY="1")]
            await until(lambda: runs_in(queue, job.id, 1), WAIT_S)
            processes[0].send_signal(signal.SIGSTOP)  # no more steps while the next one starts
            processes += [start_worker_process(redis_url, namespace, LEASE_S="2", GRACE_S="60")]
            await until(lambda: runs_in(queue, job.id, 2), WAIT_S)
            processes[0].send_signal(signal.SIGCONT)  # finds out that the job is no longer its own
            done = await queue.wait(job.id, WAIT_S)
            assert done.state is JobState.SUCCEEDED
            assert read_pixels(await queue.result(job.id)).shape == (400, 400, 3)
            processes[0].send_signal(signal.SIGTERM)
            assert processes[0].wait(60) == 0

            last = await queue.submit(photo_job(300, 300, steps=20), noise_png(300, 300))
            await until(lambda: runs_in(queue, last.id, 1), WAIT_S)
            processes[1].send_signal(signal.SIGTERM)
            assert processes[1].wait(60) == 0
            assert (await queue.get(last.id)).state is JobState.SUCCEEDED
            assert await queue.workers() == []
    finally:
        for process in processes:
            process.kill()
            process.wait()
