"""Workers for tests, in this process or in one of their own, and photos that keep them as busy as wanted."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.images import ImageLimits
from app.jobs.job import Job, RestoreOptions, new_job_id
from app.jobs.queue import JobQueue
from app.worker.courier import end_tasks
from app.worker.loop import LoopPolicy, WorkerLoop
from app.worker.workbench import Workbench
from tests.support.jobs import until

if TYPE_CHECKING:
    from pathlib import Path

    from app.worker.held import HeldJob
    from app.worker.models import ModelSet
    from app.worker.runner import Runner


def noise_png(width: int = 96, height: int = 80, seed: int = 0) -> bytes:
    """A PNG of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG", compress_level=1)
    return target.getvalue()


def white_png(width: int = 96, height: int = 80) -> bytes:
    """A PNG that is all white, which tells its tiles from those of any other photo."""
    target = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(target, "PNG")
    return target.getvalue()


def read_pixels(data: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def photo_job(
    width: int = 96,
    height: int = 80,
    *,
    steps: int = 2,
    seed: int = 0,
    image_format: str | None = None,
    model: str | None = None,
    start_within_s: float | None = None,
    finish_within_s: float | None = None,
) -> Job:
    return Job(
        id=new_job_id(),
        media_type="image/png",
        width=width,
        height=height,
        input_bytes=1,
        created_ms=int(time.time() * 1000),
        options=RestoreOptions(
            steps=steps,
            seed=seed,
            format=image_format,
            model=model,
            start_within_s=start_within_s,
            finish_within_s=finish_within_s,
        ),
    )


def tiny_runner(batch_tiles: int = 8) -> Runner:
    """The tiny model with random weights, one thread, loaded."""
    from app.worker.runner import Runner  # imports torch, which tests of processes can do without

    runner = Runner("tiny", "cpu", threads=1, batch_tiles=batch_tiles, limits=ImageLimits())
    runner.load()
    return runner


def only(runner: Runner) -> ModelSet:
    """A loaded runner as the one model of a worker."""
    from app.worker.models import ModelSet

    return ModelSet({runner.name: runner})


def write_model(folder: Path, seed: int) -> Path:
    """A folder with a model of the tiny configuration, with weights of its own."""
    import torch

    from model.checkpoint import ModelFolder
    from model.config import load_config
    from model.guidance import Guidance
    from model.pipeline import build_network
    from model.vlm.lora import MARK
    from model.vlm.vision_language import VisionLanguageModel

    config, parts = load_config("tiny"), ModelFolder(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vlm = VisionLanguageModel(config.vlm, ("a", "dog", "cat", "runs"), pretrained=False)
        parts.save_vlm(config, vlm)
        guidance = Guidance(config, vlm)  # adds the adapters, which are a part of their own
        network = build_network(config)
        for parameter in (*guidance.predictor.parameters(), *network.parameters()):
            if not bool(parameter.any()):
                parameter.data.normal_(0, 0.02)
    parts.save_part(config, "lora", vlm.clip, only=MARK)
    parts.save_part(config, "predictor", guidance.predictor)
    parts.save_part(config, "restorer", network)
    return folder


@asynccontextmanager
async def working(queue: JobQueue, runner: Runner, policy: LoopPolicy | None = None) -> AsyncIterator[WorkerLoop]:
    """A worker loop in this process; stopped, with its grace, at the end."""

    def warm() -> ModelSet:
        runner.warm_up()
        return only(runner)

    loop = WorkerLoop(queue, warm, policy or LoopPolicy(claim_block_ms=50), f"test-{new_job_id()[:6]}")
    task = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        loop.stop()
        await asyncio.wait_for(task, 30)


class Benches:
    """Workbenches of one test; nobody keeps leases, and nothing is computed before `start`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._benches: list[Workbench] = []
        self._computing: list[asyncio.Task[None]] = []

    async def set_up(self, queue: JobQueue, models: ModelSet | None = None, **options: Any) -> Workbench:
        bench = Workbench(lambda: models or only(self._runner), queue, lease_s=600.0, concurrency=8, **options)
        await bench.set_up()
        self._benches.append(bench)
        return bench

    def start(self, bench: Workbench) -> None:
        self._computing.append(asyncio.create_task(bench.compute_forever()))

    async def take(self, bench: Workbench, queue: JobQueue, *jobs: Job) -> list[HeldJob]:
        """Claim jobs and give them to a workbench."""
        for claim in await queue.claim("w", len(jobs), 1000):
            bench.accept(claim)
        return [bench.held[job.id] for job in jobs]

    async def close(self) -> None:
        for task in self._computing:
            if task.done():
                task.result()  # the loop must outlive whatever happened in the test
        await end_tasks(self._computing)
        for bench in self._benches:
            await bench.close()


async def until_decoded(held: HeldJob, timeout_s: float = 30.0) -> None:
    """Returns once a job's photo is decoded, and waits for its turn."""
    from app.worker.held import Phase

    async def is_decoded() -> bool:
        return held.phase is Phase.WAITING

    await until(is_decoded, timeout_s)


def start_worker_process(redis_url: str, namespace: str, **settings: str) -> subprocess.Popen[bytes]:
    """`python -m app.worker` with the tiny model; settings are given by their environment names without the prefix."""
    values = {"REDIS_URL": redis_url, "NAMESPACE": namespace, "MODEL": "tiny", "THREADS": "1"} | settings
    environment = os.environ | {f"VLMIR_{name}": value for name, value in values.items()}
    return subprocess.Popen([sys.executable, "-m", "app.worker"], env=environment)
