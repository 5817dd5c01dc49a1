"""A job as the fields of a Redis hash and back. Scripts in `lua/` write some of the fields themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from app.jobs.job import Finding, Job, JobState, RestoreOptions
from app.jobs.webhook import Webhook

VERSION = 1
"""Rises when the meaning of a field changes; readers refuse what they do not know."""


class CodecError(ValueError):
    """A stored record is not one that this version can read."""


def encode_findings(findings: Iterable[Finding]) -> str:
    """Give findings as JSON text."""
    return json.dumps([[f.kind, f.probability, f.severity] for f in findings], separators=(",", ":"))


def decode_findings(text: str) -> tuple[Finding, ...]:
    """Read findings written by `encode_findings`."""
    return tuple(Finding(str(kind), float(p), float(severity)) for kind, p, severity in json.loads(text))


def encode_job(job: Job) -> dict[str, str]:
    """Give the hash fields of a job; fields that are None are left out."""
    fields: dict[str, str | int | None] = {
        "version": VERSION,
        "id": job.id,
        "state": job.state.value,
        "options": encode_options(job.options),
        "tenant": job.tenant,
        "priority": job.priority,
        "media_type": job.media_type,
        "width": job.width,
        "height": job.height,
        "input_bytes": job.input_bytes,
        "created_ms": job.created_ms,
        "started_ms": job.started_ms,
        "finished_ms": job.finished_ms,
        "expires_ms": job.expires_ms,
        "attempt": job.attempt,
        "step": job.step,
        "steps_total": job.steps_total,
        "model": job.model,
        "caption": job.caption,
        "findings": encode_findings(job.findings),
        "result_media_type": job.result_media_type,
        "error_code": job.error_code,
        "error_detail": job.error_detail,
        "cancel_requested": int(job.cancel_requested),
        "metadata": None if job.metadata is None else json.dumps(job.metadata, separators=(",", ":")),
        "batch_id": job.batch_id,
        # Not JSON: scripts read them.
        "webhook": None if job.webhook is None else job.webhook.url,
        "webhook_events": None if job.webhook is None else ",".join(job.webhook.events),
        "traceparent": job.traceparent,
    }
    return {name: str(value) for name, value in fields.items() if value is not None}


def decode_job(fields: Mapping[bytes, bytes]) -> Job:
    """Read the hash of a job; fields that are not part of a `Job` are passed over.

    Raises:
        CodecError: The record has another version, or a field is missing or damaged.
    """
    text = {name.decode(): value.decode() for name, value in fields.items()}
    if text.get("version") != str(VERSION):
        raise CodecError(
            f"job record has version {text.get('version')!r}, this program reads {VERSION}; "
            "run API and workers of the same release"
        )
    try:
        return Job(
            id=text["id"],
            state=JobState(text["state"]),
            options=decode_options(text["options"]),
            tenant=text["tenant"],
            priority=text["priority"],
            media_type=text["media_type"],
            width=int(text["width"]),
            height=int(text["height"]),
            input_bytes=int(text["input_bytes"]),
            created_ms=int(text["created_ms"]),
            started_ms=_optional_int(text, "started_ms"),
            finished_ms=_optional_int(text, "finished_ms"),
            expires_ms=_optional_int(text, "expires_ms"),
            attempt=int(text["attempt"]),
            step=int(text["step"]),
            steps_total=_optional_int(text, "steps_total"),
            model=text.get("model"),
            caption=text.get("caption"),
            findings=decode_findings(text["findings"]),
            result_media_type=text.get("result_media_type"),
            error_code=text.get("error_code"),
            error_detail=text.get("error_detail"),
            cancel_requested=text["cancel_requested"] == "1",
            metadata=json.loads(text["metadata"]) if "metadata" in text else None,
            batch_id=text.get("batch_id"),
            webhook=Webhook(text["webhook"], tuple(text["webhook_events"].split(","))) if "webhook" in text else None,
            traceparent=text.get("traceparent"),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise CodecError(f"job record is damaged ({type(error).__name__}: {error})") from error


def encode_options(options: RestoreOptions) -> str:
    """Give options as JSON text."""
    # Without those that are None, so that a worker of an older release can read a job that uses no newer option.
    given = {name: value for name, value in asdict(options).items() if value is not None}
    return json.dumps(given, separators=(",", ":"))


def decode_options(text: str) -> RestoreOptions:
    """Read options written by `encode_options`."""
    given = json.loads(text)
    if given.get("kinds") is not None:
        given["kinds"] = tuple(given["kinds"])
    return RestoreOptions(**given)


def _optional_int(text: Mapping[str, str], name: str) -> int | None:
    value = text.get(name)
    return None if value is None else int(value)
