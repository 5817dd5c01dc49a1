"""Requests as both clients send them: addresses, forms, parameters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

import httpx

from app.client.documents import RemoteJob
from app.jobs.job import JobState

CONNECT_TIMEOUT_S = 5.0
LONGEST_ABSENCE_S = 60.0
"""Time for which a job is followed although its service is away."""
SILENCE_S = 45.0
"""Silence after which a stream of events counts as broken: three times the service's sign of life."""
FIRST_POLL_S, LAST_POLL_S = 0.1, 1.0


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        method: HTTP method.
        path: Address, or a path under the base address.
        params: Query.
        headers: Headers.
        files: Files of a form.
        data: Fields of a form.
    """

    method: str
    path: httpx.URL | str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, bytes]] | Sequence[tuple[str, tuple[str, bytes]]] | None = None
    data: Mapping[str, str] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The request as arguments of httpx."""
        # Parameters that are empty would take away those of an address that a service gave.
        params = {"params": self.params} if self.params else {}
        form = {"files": self.files, "data": self.data} if self.files is not None else {}
        return {"method": self.method, "url": self.path, "headers": self.headers, **params, **form}


class Addresses:
    """Where things of one service are.

    Args:
        base_url: Address of the service, with a path prefix if it has one.
    """

    def __init__(self, base_url: str) -> None:
        # Links in answers hold the whole path, prefix included, so they are joined to the origin.
        self._origin = httpx.URL(base_url).copy_with(raw_path=b"/")

    def of(self, job: RemoteJob | str, name: str = "self") -> httpx.URL | str:
        """Give the address of a job, or of its "result", its "events", or where to "cancel" it."""
        if isinstance(job, RemoteJob) and name in job.links:
            return self._origin.join(job.links[name])
        job_id = job.id if isinstance(job, RemoteJob) else job
        return f"jobs/{job_id}/{name}" if name in ("result", "events") else f"jobs/{job_id}"


def submission(photo: bytes, mask: bytes | None, idempotency_key: str | None, options: Mapping[str, Any]) -> Request:
    """Give the request that hands a photo in; options that are None are left to the service."""
    files = {"image": ("image", photo)}
    if mask is not None:
        files["mask"] = ("mask", mask)
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    return Request("POST", "restore", headers=headers, files=files, data=fields_of(options))


def fields_of(options: Mapping[str, Any]) -> dict[str, str]:
    """Give options as fields of a form; those that are None are left to the service."""
    return {name: _field_of(value) for name, value in options.items() if value is not None}


def page_request(
    states: Iterable[JobState | str],
    priority: str | None,
    model: str | None,
    created_since: datetime | None,
    created_until: datetime | None,
    limit: int,
    cursor: str | None,
) -> Request:
    """Give the request for a page of jobs."""
    params: dict[str, Any] = {
        "state": ",".join(JobState(state).value for state in states) or None,
        "priority": priority,
        "model": model,
        "created_since": _text_of(created_since),
        "created_until": _text_of(created_until),
        "limit": limit,
        "cursor": cursor,
    }
    return Request("GET", "jobs", {name: value for name, value in params.items() if value is not None})


def bytes_of(photo: bytes | Path | str) -> bytes:
    """Give a photo's bytes, which may be in a file."""
    return photo if isinstance(photo, bytes) else Path(photo).read_bytes()


def with_api_key(headers: Mapping[str, str] | None, api_key: str | None) -> dict[str, str]:
    """Give the headers of every request, with the API key among them if there is one."""
    return dict(headers or {}) | ({} if api_key is None else {"Authorization": f"Bearer {api_key}"})


def timeouts(timeout_s: float) -> httpx.Timeout:
    """Give the time limits of a request."""
    return httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)


def _field_of(value: Any) -> str:
    """Give an option as the text of a form's field: objects as JSON, several values comma-separated."""
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(_field_of(item) for item in value)
    return str(value.value if isinstance(value, Enum) else value)


def _text_of(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
