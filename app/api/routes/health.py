"""What operators and their machines ask: does it turn, can it take work, and what has it counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.api.deps import ServicesDep
from app.api.problems import MEDIA_TYPE, Problem, problem_response
from app.errors import QueueUnavailableError
from app.jobs.claim import WorkerInfo
from app.metrics import API, record_queue, render

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that this process answers; Redis and workers do not matter here."""
    return {"status": "ok"}


class WorkerModel(BaseModel):
    """A worker that gave a sign of life lately."""

    name: str
    ready: bool = Field(description="Whether its models are loaded and warm.")
    model: str = Field(description="Its model for jobs that name none.")
    models: list[str]


class ReadyModel(BaseModel):
    """That a photo sent now would be restored."""

    status: str
    warnings: list[str] = Field(description="What is nevertheless not as it should be.")
    workers: list[WorkerModel]


@router.get(
    "/readyz",
    response_model=None,
    responses={
        200: {"model": ReadyModel},
        503: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "See `reasons`."},
    },
)
async def readyz(request: Request, services: ServicesDep) -> Response | dict[str, Any]:
    """Say whether a photo sent now would be restored: Redis answers and a worker is warm.

    `warnings` names the models that `GET /models` lists and no ready worker has (jobs that name them would fail), and
    settings of Redis by which jobs may get lost, as they were when this process met it.
    """
    try:
        await services.queue.ping()
        workers = await services.queue.workers()
        reasons = [] if any(worker.ready for worker in workers) else [_worker_reason(len(workers))]
    except QueueUnavailableError as error:
        workers, reasons = [], [error.detail]
    if reasons:
        return problem_response(
            request,
            status=503,
            code="not_ready",
            title="The service is not ready",
            detail=" ".join(reasons),
            retryable=True,
            retry_after_s=2,
            reasons=reasons,
        )
    return {
        "status": "ready",
        "warnings": [*services.queue.server.warnings, *_warnings(services.model_names, workers)],
        "workers": [
            {"name": worker.name, "ready": worker.ready, "model": worker.model, "models": worker.models}
            for worker in workers
        ],
    }


def _worker_reason(starting: int) -> str:
    if starting:
        return f"{starting} worker(s) are loading their models and not warm yet."
    return "No worker has given a sign of life; start one with `vlmir worker`."


def _warnings(names: Sequence[str], workers: Iterable[WorkerInfo]) -> list[str]:
    offered = {name for worker in workers if worker.ready for name in worker.models}
    missing = [name for name in names if name not in offered]
    if not missing:
        return []
    return [
        f"No ready worker has the models {', '.join(missing)}, they have {', '.join(sorted(offered))}. "
        "API and workers need the same VLMIR_MODELS or --model."
    ]


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(services: ServicesDep) -> Response:
    """Give counters and gauges in Prometheus' text format."""
    try:
        workers = await services.queue.workers()
        ready = sum(worker.ready for worker in workers)
        record_queue(await services.queue.depth(), ready, len(workers) - ready)
    except QueueUnavailableError:
        record_queue(None)
    data, media_type = render(API)
    return Response(data, headers={"Content-Type": media_type})
