"""GET /jobs/{id}/deliveries: what has become of the webhooks about a job."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from app.api.deps import ServicesDep
from app.api.problems import MEDIA_TYPE, Problem
from app.api.routes.jobs import JobDep
from app.api.schemas import moment
from app.jobs.outbox import Attempt, Delivery

router = APIRouter(tags=["webhooks"])


class AttemptModel(BaseModel):
    """One try to send a webhook."""

    number: int = Field(description="1 for the first.")
    at: datetime
    status: int | None = Field(description="HTTP status of the receiver's answer; null without one.")
    error: str | None = Field(description="Why there is no answer; null also while the try is under way.")
    seconds: float | None = Field(description="How long it took; null while that is not known.")


class DeliveryModel(BaseModel):
    """A webhook and what has become of it."""

    id: str = Field(description="The header webhook-id, the same at every try.")
    type: str = Field(description="What it tells.")
    host: str = Field(description="Where it goes; the rest of the URL may hold secrets and is not shown.")
    state: Literal["pending", "delivered", "failed", "disabled"] = Field(
        description="disabled: the receiver answered 410, to this one or to an earlier one of the batch."
    )
    created_at: datetime = Field(description="When it happened.")
    next_try_at: datetime | None = Field(description="From when on it is tried (again); null if it is not.")
    attempts: list[AttemptModel]


class DeliveriesModel(BaseModel):
    """The webhooks about a job."""

    deliveries: list[DeliveryModel] = Field(description="Oldest first; empty until there is something to tell.")


_NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "No job has this id."}
}


@router.get("/jobs/{job_id}/deliveries", response_model=DeliveriesModel, responses=_NOT_FOUND)
async def list_deliveries(response: Response, services: ServicesDep, job: JobDep) -> DeliveriesModel:
    """Tell what was sent about a job, what the receiver answered, and when it is tried again."""
    response.headers["Cache-Control"] = "no-store"
    found = await services.queue.outbox.deliveries(job.id)
    return DeliveriesModel(deliveries=[_delivery_model(delivery) for delivery in found])


def _delivery_model(delivery: Delivery) -> DeliveryModel:
    return DeliveryModel.model_validate(
        {
            "id": delivery.id,
            "type": delivery.event,
            "host": urlsplit(delivery.url).netloc,
            "state": delivery.state,
            "created_at": moment(delivery.at_ms),
            "next_try_at": None if delivery.next_ms is None else moment(delivery.next_ms),
            "attempts": [_attempt_model(number, item) for number, item in enumerate(delivery.attempts, start=1)],
        }
    )


def _attempt_model(number: int, attempt: Attempt) -> AttemptModel:
    return AttemptModel(
        number=number,
        at=moment(attempt.at_ms),
        status=attempt.status,
        error=attempt.error,
        seconds=attempt.seconds,
    )
