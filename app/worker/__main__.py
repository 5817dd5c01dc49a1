"""Composition root of the worker: settings, log, queue, model, signals. Run it as `python -m app.worker`."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from app.allocator import keep_freed_memory
from app.errors import ServiceError
from app.exit_codes import EXIT_FAILED, EXIT_UNUSABLE, exit_code_of
from app.jobs.queue import JobQueue, QueuePolicy
from app.jobs.waiting import wait_for_queue
from app.logs import configure_logging
from app.machine import share_cores, usable_cores
from app.metrics import PortTakenError, serve_worker_metrics
from app.pulse import PULSE
from app.setting_errors import explain_problems
from app.settings import ENV_PREFIX, Settings
from app.storage.setup import Storage
from app.tracing.spans import configure_tracing
from app.worker.courier import end_tasks
from app.worker.faults import DeviceLostError
from app.worker.loop import LoopPolicy, WorkerLoop
from app.worker.previews import PreviewPolicy

if TYPE_CHECKING:
    from app.worker.models import ModelSet
    from app.worker.runner import Runner

logger = logging.getLogger("app.worker")


FIRST_LOOK_S = 1.0
"""Time that Redis gets to be found unusable before the models are loaded, which takes longer."""


def main() -> int:
    """Run one worker with settings from the environment; gives the exit code."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.writelines(f"{line}\n" for line in explain_problems(error, Settings, ENV_PREFIX))
        return EXIT_UNUSABLE
    return run_worker(settings)


def run_worker(settings: Settings) -> int:
    """Run one worker until SIGTERM or SIGINT; gives the exit code.

    `EXIT_UNUSABLE` means that it cannot work with these settings, this Redis server or these weights.
    """
    configure_logging(settings)
    configure_tracing(settings, "vlmir-worker")
    keep_freed_memory()
    share_cores()
    if settings.redis_url is None:
        logger.error("a worker needs a queue: set VLMIR_REDIS_URL, or start everything with `vlmir serve`")
        return EXIT_UNUSABLE
    try:
        storage = Storage.of(settings)
    except ServiceError as error:
        logger.error("the worker cannot work: %s", error.detail)
        return EXIT_UNUSABLE
    return asyncio.run(_run(settings, settings.redis_url, storage))


def make_runner(settings: Settings, model: str | None = None) -> Runner:
    """Give a runner with these settings, not loaded yet. Imports torch, which takes seconds.

    Args:
        settings: Of the process.
        model: One of the models in the settings by its name, any shipped name, or a folder; None takes the first one of
            the settings.
    """
    from app.images import ImageLimits
    from app.worker.runner import Runner

    places = {served.name: served.place for served in settings.served_models}
    place = next(iter(places.values())) if model is None else places.get(model, model)
    others = settings.workers or 1  # that plan with the same machine
    threads = settings.threads or (0 if others == 1 else max(1, usable_cores() // others))
    limits = ImageLimits.of(settings)
    on_device = settings.device_workers or others
    return Runner(
        place,
        settings.device,
        threads,
        settings.batch_tiles,
        limits,
        host_share=1 / others,
        device_share=1 / on_device,
    )


def make_models(settings: Settings) -> ModelSet:
    """Give all models of these settings, not loaded yet."""
    from app.worker.models import ModelSet

    return ModelSet({served.name: make_runner(settings, served.name) for served in settings.served_models})


async def _run(settings: Settings, redis_url: str, storage: Storage) -> int:
    try:
        queue = JobQueue.from_url(redis_url, settings.namespace, QueuePolicy.of(settings), storage)
        try:
            await _work(_make_loop(settings, queue), wait_for_queue(queue, redis_url), settings.metrics_port)
        finally:
            await queue.close()
    except ServiceError as error:
        logger.error("the worker cannot work: %s", error.detail)
        return exit_code_of(error)
    except DeviceLostError as error:
        logger.critical("the worker ends, a new one may go on: %s", error)
        return EXIT_FAILED
    except PortTakenError as error:
        logger.error("%s", error)
        return EXIT_FAILED
    return 0


def _make_loop(settings: Settings, queue: JobQueue) -> WorkerLoop:
    policy = LoopPolicy(
        settings.worker_concurrency, settings.lease_s, settings.grace_s, previews=PreviewPolicy.of(settings)
    )

    def make_warm_models() -> ModelSet:
        models = make_models(settings)
        models.load()
        return models

    return WorkerLoop(queue, make_warm_models, policy, _worker_name())


async def _work(worker: WorkerLoop, redis_works: Coroutine[Any, Any, None], metrics_port: int) -> None:
    """Run the loop, which does without Redis while that is away, unless Redis turns out to be unusable.

    Raises:
        UnusableRedisError: It will never work.
        PortTakenError: Nobody could see the metrics.
        ServiceError: As `WorkerLoop.run`.
        DeviceLostError: As `WorkerLoop.run`.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    waiting = asyncio.create_task(redis_works)
    beating = asyncio.create_task(PULSE.beat_forever())
    try:
        if metrics_port:
            serve_worker_metrics(metrics_port)
        await asyncio.wait({waiting}, timeout=FIRST_LOOK_S)
        if waiting.done():
            waiting.result()
        working = asyncio.create_task(worker.run())
        await asyncio.wait({waiting, working}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done() and waiting.exception() is not None:
            worker.stop()
            await asyncio.gather(working, return_exceptions=True)
            waiting.result()
        await working
    finally:
        await end_tasks([waiting, beating])


def _worker_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


if __name__ == "__main__":
    sys.exit(main())
