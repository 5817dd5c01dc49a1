"""Composition root of the worker: settings, log, queue, model, signals. Run it as `python -m app.worker`."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from typing import TYPE_CHECKING

from app.allocator import keep_freed_memory
from app.errors import ServiceError
from app.exit_codes import EXIT_FAILED, EXIT_UNUSABLE
from app.jobs.queue import JobQueue, QueuePolicy
from app.logs import configure_logging
from app.machine import usable_cores
from app.metrics import serve_worker_metrics
from app.settings import Settings
from app.storage.setup import Storage
from app.tracing.spans import configure_tracing
from app.worker.faults import DeviceLostError
from app.worker.loop import LoopPolicy, WorkerLoop
from app.worker.previews import PreviewPolicy

if TYPE_CHECKING:
    from app.worker.models import ModelSet
    from app.worker.runner import Runner

logger = logging.getLogger("app.worker")


def main() -> int:
    """Run one worker with settings from the environment; gives the exit code."""
    return run_worker(Settings())


def run_worker(settings: Settings) -> int:
    """Run one worker until SIGTERM or SIGINT; gives the exit code."""
    configure_logging(settings)
    configure_tracing(settings, "vlmir-worker")
    keep_freed_memory()
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
    queue = JobQueue.from_url(redis_url, settings.namespace, QueuePolicy.of(settings), storage)
    policy = LoopPolicy(
        settings.worker_concurrency, settings.lease_s, settings.grace_s, previews=PreviewPolicy.of(settings)
    )

    def make_warm_models() -> ModelSet:
        models = make_models(settings)
        models.load()
        return models

    worker = WorkerLoop(queue, make_warm_models, policy, _worker_name())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    if settings.metrics_port:
        serve_worker_metrics(settings.metrics_port)
    try:
        await worker.run()
    except ServiceError as error:
        logger.error("the worker cannot work: %s", error.detail)
        return EXIT_UNUSABLE
    except DeviceLostError as error:
        logger.critical("the worker ends, a new one may go on: %s", error)
        return EXIT_FAILED
    finally:
        await queue.close()
    return 0


def _worker_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


if __name__ == "__main__":
    sys.exit(main())
