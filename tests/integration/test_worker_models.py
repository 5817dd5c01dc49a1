"""One worker process with two models, the real API and a real Redis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from app.jobs.job import JobState
from app.jobs.queue import JobQueue, QueuePolicy
from app.worker.loop import LoopPolicy
from app.worker.runner import Runner
from model.pipeline import Restorer
from tests.support.api import api_settings, running_api, until_state
from tests.support.jobs import open_queue, until
from tests.support.workers import (
    noise_png,
    photo_job,
    read_pixels,
    start_worker_process,
    tiny_runner,
    working,
    write_model,
)

pytestmark = pytest.mark.anyio
WAIT_S = 120.0  # a worker process imports torch first


def expected(model: str | Path, photo: bytes, seed: int) -> np.ndarray:
    image = torch.from_numpy(read_pixels(photo).astype(np.float32) / 255).permute(2, 0, 1)[None]
    result = Restorer.load(model).restore(image, steps=2, seed=seed).image
    return (result[0].permute(1, 2, 0).numpy() * 255).round()


@pytest.mark.slow
async def test_two_models_serve_their_own_jobs(redis_url: str, namespace: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "night", seed=5)
    models = f"tiny,{folder}"
    photos = {seed: noise_png(150, 130, seed) for seed in range(6)}
    process = start_worker_process(redis_url, namespace, MODELS=models)
    try:
        async with running_api(api_settings(redis_url, namespace, models=models)) as (client, services):

            async def is_ready() -> bool:
                assert process.poll() is None
                return (await client.get("/readyz")).status_code == 200

            await until(is_ready, WAIT_S)
            listed = (await client.get("/models")).json()["models"]
            assert [(item["name"], item["workers"]) for item in listed] == [("tiny", 1), ("night", 1)]
            jobs = {}
            for seed, photo in photos.items():  # all at once, so that tiles of both models wait together
                data = {"steps": "2", "seed": str(seed), "format": "png"}
                if seed % 3:
                    data["model"] = ("night", "tiny")[seed % 3 - 1]
                answer = await client.post("/restore", files={"image": ("a.png", photo)}, data=data)
                assert answer.status_code == 202, answer.text
                jobs[seed] = answer.json()
            pictures = {}
            for seed, job in jobs.items():
                done = await until_state(client, job["links"]["self"], "succeeded", "failed", within_s=WAIT_S)
                assert done["state"] == "succeeded", done
                assert done["model"] == (job["options"]["model"] or "tiny")
                pictures[seed] = read_pixels((await client.get(done["links"]["result"])).content).astype(float)
            for seed, picture in pictures.items():
                place = folder if jobs[seed]["options"]["model"] == "night" else "tiny"
                assert np.abs(picture - expected(place, photos[seed], seed)).max() <= 1, (seed, place)

            # a job for a model that this worker does not have: refused by the API, and failed at once by the worker
            refused = await client.post("/restore?model=gone", content=photos[0])
            assert (refused.status_code, refused.json()["available"]) == (422, ["tiny", "night"])
            stray = await services.queue.submit(photo_job(model="gone"), noise_png())
            await assert_fails_at_once(services.queue, stray.id)
            again = await client.post("/restore?model=night", content=photos[0], headers={"Prefer": "wait=60"})
            assert again.status_code == 200
    finally:
        process.terminate()
        assert process.wait(60) == 0


async def assert_fails_at_once(queue: JobQueue, job_id: str) -> None:
    failed = await queue.wait(job_id, WAIT_S)
    assert (failed.state, failed.error_code, failed.attempt) == (JobState.FAILED, "model_unavailable", 1)
    assert "no model 'gone'" in (failed.error_detail or "")
    assert failed.model is None


@pytest.fixture(scope="module")
def runner() -> Runner:
    return tiny_runner()


async def test_job_for_another_model_harms_nobody(redis_url: str, namespace: str, runner: Runner) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(lease_ms=5000)) as queue:
        good = [await queue.submit(photo_job(seed=n, model=("tiny", None)[n]), noise_png(seed=n)) for n in range(2)]
        stray = await queue.submit(photo_job(model="gone"), noise_png())
        async with working(queue, runner, LoopPolicy(concurrency=1, claim_block_ms=50)):
            await assert_fails_at_once(queue, stray.id)
            for job in good:
                done = await queue.wait(job.id, WAIT_S)
                assert (done.state, done.model) == (JobState.SUCCEEDED, "tiny")
