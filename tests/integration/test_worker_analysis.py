"""Jobs that only look at their photo, on a real worker with the tiny model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from app.api.analysis_schemas import AnalysisModel
from app.jobs.job import ANALYZE, Job, JobState, RestoreOptions
from app.jobs.queue import JobQueue, QueuePolicy
from model.budget import is_found
from tests.support.jobs import open_queue
from tests.support.workers import noise_png, photo_job, working

if TYPE_CHECKING:
    from app.worker.runner import Runner

pytestmark = pytest.mark.anyio
POLICY = QueuePolicy(lease_ms=60_000)
WAIT_S = 60.0


def analysis_job(width: int, height: int, **options: Any) -> Job:
    return replace(photo_job(width, height), options=RestoreOptions(task=ANALYZE, **options))


async def analyzed(queue: JobQueue, job: Job, data: bytes) -> tuple[Job, dict[str, Any]]:
    await queue.submit(job, data)
    done = await queue.wait(job.id, WAIT_S)
    assert done.state is JobState.SUCCEEDED, done.error_detail
    document: dict[str, Any] = json.loads(await queue.result(job.id))
    return done, document


async def test_a_photo_is_looked_at_and_not_restored(redis_url: str, namespace: str, runner: Runner) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue, working(queue, runner):
        done, document = await analyzed(queue, analysis_job(90, 70, caption="a cat"), noise_png(90, 70))
    assert done.result_media_type == "application/json"
    assert (done.step, done.steps_total) == (0, 0)
    assert document["caption"] == done.caption == "a cat"
    assert (document["width"], document["height"], document["model"]) == (90, 70, "tiny")
    assert [item["kind"] for item in document["degradations"]] == [item.kind for item in done.findings]
    assert document["scores"]["noise"] > 20  # the photo is noise
    assert 0 <= document["scores"]["blur"] < 0.5
    assert document["estimated_s"] > 0  # measured at warm-up
    worst = [item for item in done.findings if item.probability >= 0.5 and item.severity >= 0.1]
    assert document["suggestion"]["restore"] == bool(worst)
    AnalysisModel.model_validate(document)


async def test_without_a_measured_time_there_is_no_estimate(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_tile_s", None)
    seen = runner.analyze("a", runner.decode(noise_png(90, 70), None), RestoreOptions())
    assert seen.document["estimated_s"] is None
    assert {item["seconds"] for item in seen.document["estimates"]} == {None}


async def test_estimates_are_tiles_times_steps_times_the_time_per_tile(runner: Runner) -> None:
    for width, height in ((33, 64), (90, 70), (200, 131)):
        decoded = runner.decode(noise_png(width, height), None)
        seen = runner.analyze("a", decoded, RestoreOptions(), 0.25)
        for item in seen.document["estimates"]:
            begun = runner.begin("b", runner.decode(noise_png(width, height), None), RestoreOptions(item["quality"]))
            runner.discard("b")
            assert (item["steps"], item["seconds"]) == (begun.steps, pytest.approx(begun.steps * begun.tiles * 0.25))
        suggestion = seen.document["suggestion"]
        assert suggestion["quality"] == ("balanced" if any(map(is_found, seen.findings)) else "fast")  # type: ignore[arg-type]


async def test_what_cannot_be_decoded_fails_like_a_restoration(redis_url: str, namespace: str, runner: Runner) -> None:
    async with open_queue(redis_url, namespace, POLICY) as queue, working(queue, runner):
        job = analysis_job(90, 70)
        await queue.submit(job, noise_png(90, 70)[:200])
        done = await queue.wait(job.id, WAIT_S)
        assert (done.state, done.error_code) == (JobState.FAILED, "invalid_image")
