"""The bodies of webhooks: `{"type", "timestamp", "data"}`, made from what was recorded when it happened."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from app.jobs.codec import decode_job
from app.jobs.job import Job
from app.jobs.outbox import Message

DescribeJob = Callable[[Job], Mapping[str, Any]]
"""Gives a job as the API shows it."""


def render(message: Message, describe: DescribeJob, prefix: str = "") -> bytes:
    """Give the body of a webhook. The same at every try, because the record is that of the moment it tells about.

    Args:
        message: What is to be told.
        describe: Gives jobs as `GET /jobs/{id}` does.
        prefix: Put before the paths of links.

    Raises:
        ValueError: The record cannot be read (`app.jobs.codec.CodecError`, or what JSON raises).
    """
    is_job = message.event.startswith("job.")
    data = describe(decode_job(message.about)) if is_job else _describe_entry(message.about, prefix)
    moment = datetime.fromtimestamp(message.at_ms / 1000, tz=timezone.utc)
    timestamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document = {"type": message.event, "timestamp": timestamp, "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _describe_entry(about: Mapping[bytes, bytes], prefix: str) -> dict[str, Any]:
    """Give a refused entry of a batch as `GET /batches/{id}/entries` does, with its batch and the caller's metadata."""
    batch, index = about[b"batch"].decode(), int(about[b"index"])
    code, detail = json.loads(about[b"error"])
    path = f"{prefix}/batches/{batch}"
    return {
        "batch": batch,
        "index": index,
        "state": "refused",
        "job": None,
        "error": {"code": code, "detail": detail},
        "metadata": json.loads(about[b"entry"]).get("metadata"),
        "links": {"batch": path, "entries": f"{path}/entries?start={index}&limit=1"},
    }
