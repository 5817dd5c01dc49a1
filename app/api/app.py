"""Composition root of the API process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI

from app.access.openness import explain
from app.access.origins import parse_origins
from app.api.access import AccessGate
from app.api.cors import CorsMiddleware
from app.api.deps import Services, make_services
from app.api.feeder import BatchFeeder
from app.api.middleware import RequestEnvelope
from app.api.openapi import complete_description
from app.api.problems import add_problem_handlers
from app.api.routes import analyze, batch, deliveries, events, health, jobs, models, page, restore
from app.api.schemas import job_model_under
from app.api.tidying import give_memory_back_regularly
from app.api.webhook_docs import describe_webhooks
from app.errors import UnusableRedisError
from app.fetch.fetcher import ImageFetcher
from app.jobs.job import Job
from app.jobs.queue import JobQueue, QueuePolicy
from app.jobs.waiting import wait_for_queue
from app.settings import Settings
from app.storage.setup import Storage
from app.webhooks.policy import WebhookPolicy
from app.webhooks.sender import WebhookSender
from app.webhooks.signing import WebhookSecrets

logger = logging.getLogger("app.api")

_CANCEL_AGAIN_S = 0.5
_DESCRIPTION = """\
Restores damaged photos. Send one to `POST /restore`; follow the job with `GET /jobs/{id}`, or send `Prefer: wait=30`
and get the restored photo as the answer. Errors are RFC 9457 problem documents with a stable `code`."""


def create_app(settings: Settings, fetcher: ImageFetcher | None = None) -> FastAPI:
    """Make the API. It connects to Redis when it starts, and starts without Redis too.

    A Redis that can never work is told in `app.state.unusable`; whoever runs the app ends it then.

    Args:
        settings: Settings of the process; `redis_url` must be set.
        fetcher: Fetches photos that are given by URL; None makes one by the settings. Only tests give another, which
            may go where no setting leads.

    Raises:
        ValueError: There is no Redis address.
        StorageSetupError: The storage that the settings name cannot be used.
    """
    if settings.redis_url is None:
        raise ValueError("the API needs a queue: set VLMIR_REDIS_URL, or start everything with `vlmir serve`")
    redis_url, storage = settings.redis_url, Storage.of(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        queue = JobQueue.from_url(redis_url, settings.namespace, QueuePolicy.of(settings), storage)
        app.state.services = make_services(settings, queue, fetcher, storage.buckets)
        logger.info("%s", explain(settings.host, settings.open_access))
        app.state.feeder = feeder = BatchFeeder(app.state.services)
        sender = _make_sender(settings, app.state.services)
        app.state.unusable = None
        running: list[asyncio.Task[None]] = []

        async def begin() -> None:
            await _prepare(app, queue, redis_url)
            if app.state.unusable is None:
                running.extend(
                    asyncio.create_task(part) for part in (feeder.run(), sender.run(), queue.retention.run())
                )

        running += [asyncio.create_task(part) for part in (begin(), give_memory_back_regularly())]
        try:
            yield
        finally:
            feeder.stop()
            sender.stop()
            # Again and again: a cancellation may get lost while a connection is opened, and then more is begun.
            while left := [task for task in running if not task.done()]:
                for task in left:
                    task.cancel()
                await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
            await asyncio.gather(*running, return_exceptions=True)
            await queue.close()
            await app.state.services.access.close()

    app = FastAPI(
        title="VLMIR",
        description=_DESCRIPTION,
        version=_version(),
        lifespan=lifespan,
        redirect_slashes=False,  # a redirected upload would be sent twice
        redoc_url=None,
    )
    add_problem_handlers(app)
    complete_description(app, settings)
    app.add_middleware(AccessGate)
    app.add_middleware(RequestEnvelope)  # the last one is the outermost
    if origins := parse_origins(settings.cors_origins):
        app.add_middleware(CorsMiddleware, origins=origins)
    for routes in (restore, analyze, batch, jobs, events, deliveries, models, health, page):
        app.include_router(routes.router)
    describe_webhooks(app)
    return app


def _make_sender(settings: Settings, services: Services) -> WebhookSender:
    """Make what sends webhooks from this process."""
    prefix = settings.public_url.rstrip("/")

    def describe(job: Job) -> dict[str, Any]:
        return job_model_under(prefix, job).model_dump(mode="json")

    secrets, policy = WebhookSecrets.parse(settings.webhook_secrets), WebhookPolicy.of(settings)
    return WebhookSender(services.queue.outbox, services.fetcher.pinned, secrets, policy, describe, prefix)


async def _prepare(app: FastAPI, queue: JobQueue, redis_url: str) -> None:
    """Create the streams, as soon as Redis answers: an autoscaler that looks before the first job must find them."""
    try:
        await wait_for_queue(queue, redis_url)
    except UnusableRedisError as error:
        logger.error("the API cannot work: %s", error.detail)
        app.state.unusable = error
    except Exception:
        # Requests are answered nevertheless, each with what is wrong; but the reason must not go unseen.
        logger.exception("the streams of the queue cannot be created")


def _version() -> str:
    try:
        return version("vlmir")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"
