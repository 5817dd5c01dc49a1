"""GET /models: which models a job may name."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from app.api.deps import ServicesDep
from app.api.problems import MEDIA_TYPE, Problem
from app.api.schemas import ModelModel, ModelsModel

router = APIRouter(tags=["models"])

_AWAY: dict[int | str, dict[str, Any]] = {
    503: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "The queue is not available."}
}


@router.get("/models", response_model=ModelsModel, responses=_AWAY)
async def list_models(services: ServicesDep) -> ModelsModel:
    """List the models of the service; the first is for jobs that name none."""
    ready = [worker for worker in await services.queue.workers() if worker.ready]
    names = services.model_names
    return ModelsModel(
        models=[
            ModelModel(name=name, default=name == names[0], workers=sum(name in worker.models for worker in ready))
            for name in names
        ]
    )
