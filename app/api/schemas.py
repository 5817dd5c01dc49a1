"""What goes over the wire about a job."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import BaseModel, Field

from app.jobs.job import Job, JobState

POLL_AFTER_S = 1


class DegradationModel(BaseModel):
    """One kind of damage that was found."""

    kind: str = Field(description="Name of the kind, such as rain.")
    probability: float = Field(description="How sure the model is, 0..1.")
    severity: float = Field(description="How strong the damage is, 0..1.")


class PhotoModel(BaseModel):
    """The upload."""

    media_type: str
    width: int = Field(description="Width in pixels, orientation applied.")
    height: int = Field(description="Height in pixels, orientation applied.")
    bytes: int


class OptionsModel(BaseModel):
    """What was asked for."""

    quality: str
    steps: int | None
    seed: int
    caption: str | None
    format: str | None
    model: str | None
    kinds: list[str] | None = Field(description="What was said to be wrong; null when the model was to find out.")
    start_within: float | None = Field(description="Seconds from acceptance in which it must begin.")
    finish_within: float | None = Field(description="Seconds from acceptance in which it must be done.")
    photo_metadata: str | None = Field(description="What of the photo's own metadata the result has; null keeps it.")
    output_url: str | None = Field(description="Where the result is written as well.")
    quality_factor: int | None = Field(description="1..100 for lossy formats; null for the usual one.")


class TimingsModel(BaseModel):
    """When things happened (UTC), and how long they took."""

    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="When the result is deleted.")
    queued_s: float | None = Field(description="Seconds from acceptance to the first start.")
    running_s: float | None = Field(description="Seconds from the first start to the end.")


class JobErrorModel(BaseModel):
    """Why a job failed."""

    code: str
    detail: str | None


class LinksModel(BaseModel):
    """Where to go on; use these and do not build addresses."""

    self: str
    result: str
    events: str = Field(description="Server-sent events: what happens to the job, as it happens.")
    cancel: str = Field(description="Send DELETE here.")
    deliveries: str = Field(description="What has become of the webhooks about it.")
    result_presigned: str | None = Field(
        default=None,
        description="The result in the object store, for anybody who has this link, for a time. Null where the store "
        "does not sign, without a result, and in lists.",
    )


class WebhookModel(BaseModel):
    """Where the caller is told of the end."""

    host: str = Field(description="Host of the URL; the rest may hold secrets and is not shown.")
    events: list[str]


class ModelModel(BaseModel):
    """One model of the service."""

    name: str = Field(description="What to give as `model`.")
    default: bool = Field(description="Whether it is the one for jobs that name none.")
    workers: int = Field(description="Workers that have it and are ready.")


class ModelsModel(BaseModel):
    """The models of the service."""

    models: list[ModelModel]


class JobModel(BaseModel):
    """A job as it is now."""

    id: str
    state: JobState
    task: str = Field(description="restore or analyze (look at the photo only).")
    priority: str = Field(description="interactive or batch.")
    position: int | None = Field(
        description="Place in the queue, 1 for the next; null when it does not wait or was not looked up."
    )
    step: int = Field(description="Finished diffusion steps.")
    steps_total: int | None = Field(description="Steps in all, once known.")
    progress: float = Field(description="Finished part, 0..1.")
    cancel_requested: bool
    model: str | None = Field(description="Name of the model that works on it, once known.")
    caption: str | None = Field(description="Caption that guides the restoration.")
    degradations: list[DegradationModel]
    input: PhotoModel
    options: OptionsModel
    metadata: dict[str, Any] | None = Field(description="The caller's own object, as it was given.")
    batch: str | None = Field(description="Id of the batch that it belongs to.")
    webhook: WebhookModel | None
    traceparent: str | None = Field(description="Trace that it belongs to (W3C Trace Context), if it was given one.")
    result_media_type: str | None
    attempt: int = Field(description="Times a worker has taken the job.")
    error: JobErrorModel | None
    timings: TimingsModel
    links: LinksModel


def job_path(request: Request, job_id: str) -> str:
    """Give the path of a job as the caller sees it (with the prefix under which the server was told it runs)."""
    return f"{request.scope.get('root_path', '').rstrip('/')}/jobs/{job_id}"


def job_model(request: Request, job: Job, position: int | None = None) -> JobModel:
    """Give what the wire shows of a job.

    Args:
        request: The request that is answered; links go under its path prefix.
        job: The job.
        position: Its place in the queue, if it was looked up and it waits.
    """
    return job_model_under(request.scope.get("root_path", "").rstrip("/"), job, position)


def job_model_under(prefix: str, job: Job, position: int | None = None) -> JobModel:
    """Give what is shown of a job where there is no request to answer.

    Args:
        prefix: Put before the paths of links.
        job: The job.
        position: Its place in the queue, if it was looked up and it waits.
    """
    path = f"{prefix}/jobs/{job.id}"
    done = 1.0 if job.state in (JobState.SUCCEEDED, JobState.EXPIRED) else 0.0
    return JobModel(
        id=job.id,
        state=job.state,
        task=job.options.task or "restore",
        priority=job.priority,
        position=position,
        step=job.step,
        steps_total=job.steps_total,
        progress=done or (min(1.0, job.step / job.steps_total) if job.steps_total else 0.0),
        cancel_requested=job.cancel_requested,
        model=job.model,
        caption=job.caption,
        degradations=[
            DegradationModel(kind=found.kind, probability=found.probability, severity=found.severity)
            for found in job.findings
        ],
        input=PhotoModel(media_type=job.media_type, width=job.width, height=job.height, bytes=job.input_bytes),
        options=OptionsModel(
            quality=job.options.quality,
            steps=job.options.steps,
            seed=job.options.seed,
            caption=job.options.caption,
            format=job.options.format,
            model=job.options.model,
            kinds=None if job.options.kinds is None else list(job.options.kinds),
            start_within=job.options.start_within_s,
            finish_within=job.options.finish_within_s,
            photo_metadata=job.options.photo_metadata,
            quality_factor=job.options.quality_factor,
            output_url=job.options.output_url,
        ),
        metadata=None if job.metadata is None else dict(job.metadata),
        batch=job.batch_id,
        webhook=None
        if job.webhook is None
        else WebhookModel(host=urlsplit(job.webhook.url).netloc, events=list(job.webhook.events)),
        traceparent=job.traceparent,
        result_media_type=job.result_media_type,
        attempt=job.attempt,
        error=JobErrorModel(code=job.error_code, detail=job.error_detail)
        if job.error_code is not None and job.state is JobState.FAILED
        else None,
        timings=TimingsModel(
            created_at=moment(job.created_ms),
            started_at=None if job.started_ms is None else moment(job.started_ms),
            finished_at=None if job.finished_ms is None else moment(job.finished_ms),
            expires_at=None if job.expires_ms is None else moment(job.expires_ms),
            queued_s=_seconds(job.created_ms, job.started_ms),
            running_s=_seconds(job.started_ms, job.finished_ms),
        ),
        links=LinksModel(
            self=path,
            result=f"{path}/result",
            events=f"{path}/events",
            cancel=path,
            deliveries=f"{path}/deliveries",
        ),
    )


def moment(utc_ms: int) -> datetime:
    """Give UTC milliseconds as a moment."""
    return datetime.fromtimestamp(utc_ms / 1000, tz=timezone.utc)


def _seconds(start_ms: int | None, end_ms: int | None) -> float | None:
    # The clocks of API and Redis may differ by a little, which must not show as a negative time.
    return None if start_ms is None or end_ms is None else max(0, end_ms - start_ms) / 1000
