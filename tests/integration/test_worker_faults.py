"""Faults planted in the real network: only the guilty job ends, within one step, and its memory is free again.

White photos are the guilty ones: their tiles can be told from all others inside a forward.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from app.jobs.job import Job, JobState
from app.jobs.queue import JobQueue, QueuePolicy
from app.worker.runner import Runner
from app.worker.trace import Trace
from app.worker.workbench import Workbench
from tests.support.jobs import open_queue, until
from tests.support.workers import Benches, noise_png, photo_job, white_png

pytestmark = pytest.mark.anyio
POLICY = QueuePolicy(lease_ms=60_000, max_deliveries=1)  # what fails is not tried again
WAIT_S = 60.0

Fault = Callable[[torch.Tensor, torch.Tensor], None]
"""Given which tiles of a forward are guilty (B,) and what the network predicted (B, 3, P, P), which it may change."""


@pytest.fixture(autouse=True)
def wide_batches(runner: Runner) -> Iterator[None]:
    """Batches of eight tiles, so that jobs share forwards."""
    runner.batch_tiles, before = 8, runner.batch_tiles
    yield
    runner.batch_tiles = before


@contextmanager
def planted(runner: Runner, fault: Fault) -> Iterator[list[tuple[int, int]]]:
    """The network with a fault; gives (tiles, guilty tiles) of every forward."""
    forwards: list[tuple[int, int]] = []

    def hook(_: torch.nn.Module, given: tuple[torch.Tensor, ...], predicted: torch.Tensor) -> None:
        guilty = given[1].flatten(1).mean(1) > 0.95
        forwards.append((len(guilty), int(guilty.sum())))
        fault(guilty, predicted)

    handle = runner.restorer.network.register_forward_hook(hook)
    try:
        yield forwards
    finally:
        handle.remove()


async def begin(queue: JobQueue, bench: Workbench, benches: Benches, *, guilty_steps: int = 3) -> tuple[Job, list[Job]]:
    """A white photo between two others, nine tiles each, so that they share batches of eight."""
    jobs = [
        await queue.submit(photo_job(150, 150, steps=3, seed=1), noise_png(150, 150, seed=1)),
        await queue.submit(photo_job(150, 150, steps=guilty_steps, seed=2), white_png(150, 150)),
        await queue.submit(photo_job(150, 150, steps=3, seed=3), noise_png(150, 150, seed=3)),
    ]
    helds = await benches.take(bench, queue, *jobs)
    await asyncio.gather(*(held.task for held in helds if held.task is not None))  # all decoded
    line = bench._parts.intake._decoded
    for held in helds:  # the white photo is decoded fastest, and alone it would share no forward
        line.remove(held)
        line.append(held)
    benches.start(bench)
    return jobs[1], [jobs[0], jobs[2]]


async def assert_nothing_is_held(bench: Workbench, runner: Runner) -> None:
    async def is_empty() -> bool:
        return not bench.held

    await until(is_empty, WAIT_S)
    assert bench._parts.engine.state_bytes == len(bench._parts.engine) == 0
    assert not runner._running


async def assert_restored(queue: JobQueue, jobs: list[Job]) -> None:
    for job in jobs:
        ended = await queue.wait(job.id, WAIT_S)
        assert (ended.state, ended.step, ended.attempt) == (JobState.SUCCEEDED, 3, 1), ended


def raise_in_company(guilty: torch.Tensor, _: torch.Tensor) -> None:
    if bool(guilty.any()):
        raise ValueError("a bug that one photo brings to light")


def give_nan(guilty: torch.Tensor, predicted: torch.Tensor) -> None:
    predicted[guilty] = float("nan")


@pytest.mark.parametrize(("fault", "code"), [(raise_in_company, "restoration_failed"), (give_nan, "non_finite_output")])
async def test_only_the_guilty_job_fails_in_its_first_step(
    redis_url: str, namespace: str, runner: Runner, benches: Benches, fault: Fault, code: str
) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        with planted(runner, fault) as forwards:
            guilty, mates = await begin(queue, bench, benches)
            failed = await queue.wait(guilty.id, WAIT_S)
            assert (failed.state, failed.error_code, failed.step) == (JobState.FAILED, code, 0)
            await assert_restored(queue, mates)
        assert any(0 < white < tiles for tiles, white in forwards)  # it did share forwards with the others
        await assert_nothing_is_held(bench, runner)


async def test_lack_of_memory_at_eight_tiles_costs_nobody_anything(
    redis_url: str, namespace: str, runner: Runner, benches: Benches
) -> None:
    def full_at_eight(guilty: torch.Tensor, _: torch.Tensor) -> None:
        if len(guilty) >= 8:
            raise torch.OutOfMemoryError("CUDA out of memory")

    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        with planted(runner, full_at_eight) as forwards:
            job, mates = await begin(queue, bench, benches)
            await assert_restored(queue, [job, *mates])
        assert [tiles for tiles, _ in forwards].count(8) == 1  # never again
        assert runner.batch_tiles == 4
        await assert_nothing_is_held(bench, runner)


async def test_job_canceled_in_the_middle_of_a_forward_ends_before_the_next_one(
    redis_url: str, namespace: str, runner: Runner, benches: Benches
) -> None:
    is_running, go_on = threading.Event(), threading.Event()

    def stay(guilty: torch.Tensor, _: torch.Tensor) -> None:
        if bool(guilty.any()) and not is_running.is_set():
            is_running.set()
            go_on.wait(WAIT_S)

    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        with planted(runner, stay) as forwards:
            guilty, mates = await begin(queue, bench, benches, guilty_steps=50)
            await asyncio.to_thread(is_running.wait, WAIT_S)
            await queue.cancel(guilty.id)
            held = bench.held[guilty.id]
            bench.courier.note(held, held.claim, await queue.renew(held.claim))
            until_now = len(forwards)
            go_on.set()
            assert (await queue.wait(guilty.id, WAIT_S)).state is JobState.CANCELED
            await assert_restored(queue, mates)
            assert sum(white for _, white in forwards[until_now:]) == 0
        await assert_nothing_is_held(bench, runner)


async def test_loop_outlives_a_runner_that_breaks(
    redis_url: str, namespace: str, runner: Runner, benches: Benches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error outside the network has no guilty one: the jobs of the batch fail, and later ones are served."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue)
        with monkeypatch.context() as patch:
            patch.setattr(runner, "run", broken)
            first, mates = await begin(queue, bench, benches)
            for job in (first, *mates):
                failed = await queue.wait(job.id, WAIT_S)
                assert (failed.state, failed.error_code) == (JobState.FAILED, "restoration_failed")
                assert "ZeroDivisionError" not in (failed.error_detail or "")
        await assert_nothing_is_held(bench, runner)
        later = await queue.submit(photo_job(steps=3), noise_png())
        await benches.take(bench, queue, later)
        await assert_restored(queue, [later])


async def test_job_that_an_unexpected_error_stopped_is_tried_again(
    redis_url: str, namespace: str, runner: Runner, benches: Benches
) -> None:
    errors = [ValueError("a bug that shows once")]

    def raise_once(*_: object) -> None:
        if errors:
            raise errors.pop()

    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=60_000)) as queue:
        bench = await benches.set_up(queue)
        benches.start(bench)
        job = await queue.submit(photo_job(), noise_png())
        with planted(runner, raise_once):
            await benches.take(bench, queue, job)
            await benches.take(bench, queue, job)  # waits until it is back
            ended = await queue.wait(job.id, WAIT_S)
        assert (ended.state, ended.attempt, errors) == (JobState.SUCCEEDED, 2, [])


async def test_trace_shows_what_each_thread_did(
    redis_url: str, namespace: str, runner: Runner, benches: Benches
) -> None:
    trace = Trace()
    async with open_queue(redis_url, namespace, POLICY) as queue:
        bench = await benches.set_up(queue, trace=trace)
        job, mates = await begin(queue, bench, benches)
        await assert_restored(queue, [job, *mates])
        await assert_nothing_is_held(bench, runner)
    count = {name: sum(span.name == name for span in trace.spans) for name in {span.name for span in trace.spans}}
    per_job = {"decode": 3, "begin": 3, "end_step": 9, "finish": 3, "encode": 3, "deliver": 3}
    assert count == per_job | {"load": 1, "forward": count["forward"]}
    assert sum(span.arguments["tiles"] for span in trace.spans if span.name == "forward") == 3 * 3 * 9
    for span in trace.spans:
        if span.name in ("decode", "encode"):
            assert span.thread.startswith("photo")
        elif span.name == "deliver":
            assert span.thread == ""  # the event loop waits for the queue, for many jobs at once
        else:
            assert span.thread.startswith("model")
