"""Which codes each operation may answer with; the API's description and docs/errors.md tell them from here.

Tests with random requests hold the service to it: a code that is missing here is a failure there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from app.api.access import is_public
from app.api.error_catalogue import catalogue


@dataclass(frozen=True)
class StatusCode:
    """A code as an operation answers with it.

    Attributes:
        status: HTTP status.
        code: The code.
    """

    status: int
    code: str


EVERYWHERE = ("internal_error",)
"""Codes that any operation may answer with."""

_QUEUE = ("queue_unavailable",)
_ACCESS = ("authentication_required", "invalid_api_key", "insufficient_scope", "foreign_page", "queue_unavailable")
_LIMITS = ("rate_limited", "quota_exceeded", "queue_out_of_memory")
_STORE = (*_QUEUE, "storage_unavailable")
_WRITES = (*_QUEUE, "queue_out_of_memory")
_BODY = ("invalid_request", "upload_too_large", "unsupported_media_type", "uploads_busy")
_OPTIONS = ("invalid_option", "unknown_model")
_PHOTO = (
    "empty_upload",
    "invalid_image",
    "animated_image",
    "unsupported_format",
    "image_too_large",
    "image_too_small",
    "image_url_refused",
    "image_fetch_failed",
)
_KEY = ("idempotency_in_progress", "idempotency_key_reused")
_ENDS = ("job_failed", "job_canceled", "result_gone")
# With Prefer: wait the status of a failed job is that of its own code, which the worker's look at the photo decides.
_FAILURES = ("job_failed@413", "job_failed@415", "job_failed@422", "job_failed@500", "job_failed@503", "job_failed@504")

_OUTPUT = ("output_url_refused", "storage_unavailable")
_SUBMISSION = (*_BODY, *_OUTPUT, *_OPTIONS, *_PHOTO, *_KEY, *_WRITES, *_ENDS, *_FAILURES, "queue_full", "job_not_found")
_BATCH = (*_BODY, *_OUTPUT, *_OPTIONS, *_KEY, *_WRITES, "queue_full", "batch_not_found")

OPERATIONS: dict[str, tuple[str, ...]] = {
    "POST /restore": (*_SUBMISSION, "invalid_mask"),
    "POST /restore/batch": _BATCH,
    "POST /analyze": _SUBMISSION,
    "POST /analyze/batch": _BATCH,
    "GET /batches/{batch_id}": ("batch_not_found", *_QUEUE),
    "GET /batches/{batch_id}/entries": ("batch_not_found", "invalid_option", *_QUEUE),
    "GET /batches/{batch_id}/analyses": ("batch_not_found", "invalid_option", *_STORE),
    "DELETE /batches/{batch_id}": ("batch_not_found", *_WRITES),
    "GET /jobs": ("invalid_option", *_QUEUE),
    "GET /jobs/{job_id}": ("job_not_found", *_QUEUE),
    "DELETE /jobs/{job_id}": ("job_not_found", "invalid_option", *_WRITES),
    "GET /jobs/{job_id}/events": ("job_not_found", "invalid_option", "too_many_streams", *_QUEUE),
    "GET /jobs/{job_id}/deliveries": ("job_not_found", *_QUEUE),
    "GET /jobs/{job_id}/result": (
        "job_not_found",
        "invalid_option",
        "not_acceptable",
        "result_not_ready",
        *_ENDS,
        "precondition_failed",
        "range_not_satisfiable",
        *_STORE,
    ),
    "HEAD /jobs/{job_id}/result": (
        "job_not_found",
        "not_acceptable",
        "result_not_ready",
        *_ENDS,
        "precondition_failed",
        *_STORE,
    ),
    "GET /models": _QUEUE,
    "GET /healthz": (),
    "GET /readyz": ("not_ready",),
    "GET /metrics": (),
}
"""Codes by operation; `code@status` where the status is not that of the code."""


@cache
def errors_of(operation: str) -> tuple[StatusCode, ...]:
    """Give what an operation may answer with, by status and code.

    Args:
        operation: Method and path template, such as "GET /jobs/{job_id}".
    """
    method, _, path = operation.partition(" ")
    of_access = () if is_public(path) else (*_ACCESS, *(_LIMITS if method == "POST" else ()))
    found = {_read(item) for item in (*OPERATIONS.get(operation, ()), *of_access, *EVERYWHERE)}
    return tuple(sorted(found, key=lambda item: (item.status, item.code)))


def operations_with(code: str) -> tuple[str, ...]:
    """Give the operations that may answer with a code."""
    return tuple(name for name in OPERATIONS if any(item.code == code for item in errors_of(name)))


def _read(text: str) -> StatusCode:
    code, _, status = text.partition("@")
    return StatusCode(int(status) if status else _statuses()[code], code)


@cache
def _statuses() -> dict[str, int]:
    return {entry.code: entry.status for entry in catalogue()}
