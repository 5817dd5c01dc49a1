"""What goes over the wire about a batch."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request
from pydantic import BaseModel, Field

from app.api.schemas import JobErrorModel, moment
from app.jobs.batch import Batch, EntryView

MOST_ERRORS = 100


class EntryLinksModel(BaseModel):
    """Where to go on."""

    job: str | None = Field(description="Its job, once there is one.")


class EntryModel(BaseModel):
    """One photo of a batch."""

    index: int = Field(description="Its place among those that were sent, from 0.")
    state: str = Field(
        description="waiting (no job yet), refused (never one; see error), a state of jobs, or deleted (its record is)."
    )
    job: str | None = Field(description="Id of its job.")
    error: JobErrorModel | None = Field(description="Why it was refused.")
    links: EntryLinksModel


class BatchLinksModel(BaseModel):
    """Where to go on; use these and do not build addresses."""

    self: str
    entries: str
    analyses: str = Field(description="What was seen, of photos that were to be looked at only.")
    cancel: str = Field(description="Send DELETE here.")


class EntryPageLinksModel(BaseModel):
    """Where to go on."""

    next: str | None = Field(description="The next page, if there is one.")


class EntryPageModel(BaseModel):
    """Some photos of a batch, in order."""

    entries: list[EntryModel]
    links: EntryPageLinksModel


class BatchModel(BaseModel):
    """A batch as it is now."""

    id: str
    state: str = Field(description="running until every entry has ended, then done.")
    total: int = Field(description="Number of photos.")
    counts: dict[str, int] = Field(description="Number of photos by state.")
    progress: float = Field(description="Part of the photos that have ended, 0..1.")
    cancel_requested: bool
    errors: list[EntryModel] = Field(description=f"The first {MOST_ERRORS} refused photos.")
    created_at: datetime
    links: BatchLinksModel


def batch_path(request: Request, batch_id: str) -> str:
    """Give the path of a batch as the caller sees it."""
    return f"{request.scope.get('root_path', '').rstrip('/')}/batches/{batch_id}"


def batch_model(request: Request, batch: Batch) -> BatchModel:
    """Give what the wire shows of a batch."""
    path, total = batch_path(request, batch.id), len(batch.entries)
    refused = [entry for entry in batch.entries if entry.error is not None]
    return BatchModel(
        id=batch.id,
        state="done" if batch.ended == total else "running",
        total=total,
        counts=batch.counts,
        progress=batch.ended / total,
        cancel_requested=batch.cancel_requested,
        errors=[_entry_model(request, entry) for entry in refused[:MOST_ERRORS]],
        created_at=moment(batch.created_ms),
        links=BatchLinksModel(self=path, entries=f"{path}/entries", analyses=f"{path}/analyses", cancel=path),
    )


def entry_page(request: Request, batch: Batch, start: int, limit: int) -> EntryPageModel:
    """Give the entries from `start` on, at most `limit`."""
    part, end = batch.entries[start : start + limit], start + limit
    path = f"{batch_path(request, batch.id)}/entries?start={end}&limit={limit}"
    return EntryPageModel(
        entries=[_entry_model(request, entry) for entry in part],
        links=EntryPageLinksModel(next=path if end < len(batch.entries) else None),
    )


def _entry_model(request: Request, entry: EntryView) -> EntryModel:
    prefix = request.scope.get("root_path", "").rstrip("/")
    return EntryModel(
        index=entry.index,
        state=entry.state,
        job=entry.job_id,
        error=None if entry.error is None else JobErrorModel(code=entry.error[0], detail=entry.error[1]),
        links=EntryLinksModel(job=None if entry.job_id is None else f"{prefix}/jobs/{entry.job_id}"),
    )
