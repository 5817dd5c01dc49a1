"""The webhooks in the API's description (OpenAPI 3.1), for those who receive them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header
from pydantic import BaseModel, Field

from app.api.schemas import JobErrorModel, JobModel

_SIGNATURE = "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; several with blanks between them."


class JobEventModel(BaseModel):
    """The end of a job."""

    type: Literal["job.succeeded", "job.failed", "job.canceled"]
    timestamp: datetime = Field(description="When it happened.")
    data: JobModel = Field(description="The job as it was then, as GET /jobs/{id} gives it.")


class EntryEventLinksModel(BaseModel):
    """Where to go on."""

    batch: str
    entries: str


class RefusedEntryModel(BaseModel):
    """A photo of a batch that never became a job."""

    batch: str
    index: int = Field(description="Its place in the batch, from 0.")
    state: Literal["refused"]
    job: None
    error: JobErrorModel
    metadata: dict[str, Any] | None = Field(description="The caller's own object, as it was given.")
    links: EntryEventLinksModel


class EntryEventModel(BaseModel):
    """The end of an entry of a batch that never became a job."""

    type: Literal["entry.refused"]
    timestamp: datetime = Field(description="When it happened.")
    data: RefusedEntryModel


MessageId = Annotated[str, Header(alias="webhook-id", description="The same at every try of the same event.")]
Timestamp = Annotated[str, Header(alias="webhook-timestamp", description="When this try was made, seconds since 1970.")]
Signature = Annotated[str, Header(alias="webhook-signature", description=_SIGNATURE)]


def describe_webhooks(app: FastAPI) -> None:
    """Add the webhooks to the description of an app."""

    @app.webhooks.post("job")
    def job(event: JobEventModel, webhook_id: MessageId, timestamp: Timestamp, signature: Signature) -> None:
        """A job has ended. Answer with any status of 2xx; 410 ends all further ones of the job or batch."""

    @app.webhooks.post("entry")
    def entry(event: EntryEventModel, webhook_id: MessageId, timestamp: Timestamp, signature: Signature) -> None:
        """A photo of a batch was refused. Answer with any status of 2xx; 410 ends all further ones of the batch."""
