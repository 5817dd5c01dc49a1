"""A device that is lost ends the worker, not the jobs: all of them go back, and the next process restores them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from app.exit_codes import EXIT_FAILED
from app.jobs.job import Job, JobState
from app.jobs.queue import JobQueue, QueuePolicy
from app.settings import Settings
from app.storage.setup import Storage
from app.worker.__main__ import _run
from app.worker.faults import DeviceLostError
from app.worker.loop import LoopPolicy, WorkerLoop
from app.worker.models import ModelSet
from app.worker.runner import Runner
from tests.support.jobs import open_queue, until
from tests.support.workers import noise_png, only, photo_job, working

pytestmark = pytest.mark.anyio
POLICY = QueuePolicy(lease_ms=60_000)
WAIT_S = 60.0
LOST = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be reported later"


@contextmanager
def failing(runner: Runner, error: Exception) -> Iterator[None]:
    """The network raises this from its next forward on."""

    def hook(*_: object) -> None:
        raise error

    handle = runner.restorer.network.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def make_loop(queue: JobQueue, runner: Runner) -> WorkerLoop:
    def warm() -> ModelSet:
        runner.warm_up()
        return only(runner)

    return WorkerLoop(queue, warm, LoopPolicy(claim_block_ms=50), "sick")


async def until_ready(queue: JobQueue) -> None:
    async def is_ready() -> bool:
        return any(worker.ready for worker in await queue.workers())

    await until(is_ready, WAIT_S)


async def lose_device(queue: JobQueue, runner: Runner, error: Exception) -> list[Job]:
    """Three jobs, one of them in the middle of its steps, when the device is lost; gives them as they are then."""
    jobs = [await queue.submit(photo_job(300, 300, steps=100, seed=1), noise_png(300, 300, 1))]
    loop = make_loop(queue, runner)
    running = asyncio.create_task(loop.run())

    async def has_step() -> bool:
        return (await queue.get(jobs[0].id)).step >= 1

    await until(has_step, WAIT_S)
    with failing(runner, error):
        jobs += [await queue.submit(photo_job(seed=n), noise_png(seed=n)) for n in (2, 3)]
        with pytest.raises(DeviceLostError):
            await asyncio.wait_for(running, WAIT_S)
        assert not runner._running
        assert await queue.workers() == []
    return [await queue.get(job.id) for job in jobs]


@pytest.mark.parametrize("is_told", [True, False])
async def test_worker_with_a_lost_device_ends_and_its_jobs_go_on_elsewhere(
    redis_url: str, namespace: str, runner: Runner, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    """Either the error says that it is the device, or the device does not work when it is tried after an odd error."""

    def is_dead() -> None:
        raise DeviceLostError("planted")

    async with open_queue(redis_url, namespace, POLICY) as queue:
        with monkeypatch.context() as patch:
            if not is_told:
                patch.setattr(runner, "probe", is_dead)
            error = RuntimeError(LOST) if is_told else ValueError("odd")
            after = await lose_device(queue, runner, error)
        assert [job.state for job in after] == [JobState.QUEUED] * 3
        async with working(queue, runner):
            await queue.cancel(after[0].id)
            for job in after[1:]:
                assert (await queue.wait(job.id, WAIT_S)).state is JobState.SUCCEEDED


async def test_photo_that_loses_every_device_ends_after_its_deliveries(
    redis_url: str, namespace: str, runner: Runner
) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=60_000, max_deliveries=2)) as queue:
        await queue.ensure()
        job = None
        for _ in range(2):
            running = asyncio.create_task(make_loop(queue, runner).run())
            await until_ready(queue)
            with failing(runner, RuntimeError(LOST)):
                job = job or await queue.submit(photo_job(), noise_png())
                with pytest.raises(DeviceLostError):
                    await asyncio.wait_for(running, WAIT_S)
        assert job is not None
        failed = await queue.get(job.id)
        assert (failed.state, failed.error_code) == (JobState.FAILED, "restoration_failed")
        assert "illegal" not in (failed.error_detail or "")


async def test_lack_of_memory_is_no_lost_device(redis_url: str, namespace: str, runner: Runner) -> None:
    policy = QueuePolicy(lease_ms=60_000, max_deliveries=1)
    async with open_queue(redis_url, namespace, policy) as queue, working(queue, runner):
        await until_ready(queue)
        before = runner.batch_tiles
        try:
            with failing(runner, torch.OutOfMemoryError("CUDA error: out of memory")):
                job = await queue.submit(photo_job(), noise_png())
                failed = await queue.wait(job.id, WAIT_S)
        finally:
            runner.batch_tiles = before
        assert (failed.state, failed.error_code) == (JobState.FAILED, "device_out_of_memory")
        later = await queue.submit(photo_job(), noise_png())
        assert (await queue.wait(later.id, WAIT_S)).state is JobState.SUCCEEDED


async def test_process_says_that_a_new_one_may_help(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def is_dead(_: Runner) -> None:
        raise DeviceLostError("planted")

    monkeypatch.setattr(Runner, "load", is_dead)
    settings = Settings(redis_url=redis_url, namespace=namespace, model="tiny")
    assert await _run(settings, redis_url, Storage.of(settings)) == EXIT_FAILED
    assert "planted" in caplog.text
