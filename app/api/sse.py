"""Server-sent events as bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from app.api.schemas import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.jobs.journal import JobEvent

RETRY_MS = 2000
"""Time after which a caller whose connection broke comes back."""

OPENING = f"retry: {RETRY_MS}\n\n".encode()
"""First thing of every stream; it also shows proxies and callers that the stream has begun."""

PING = b": ping\n\n"
"""A comment: nothing for the caller, but a sign of life."""


def format_event(kind: str, data: Mapping[str, Any], event_id: str | None = None) -> bytes:
    """Give one event.

    Args:
        kind: Its type, one word.
        data: Becomes one line of JSON.
        event_id: Its id, or None to leave the caller at the one before.
    """
    text = json.dumps(data, separators=(",", ":"))  # ASCII without line breaks, so one data line holds it
    head = "" if event_id is None else f"id: {event_id}\n"
    return f"{head}event: {kind}\ndata: {text}\n\n".encode()


def event_data(event: JobEvent) -> dict[str, Any]:
    """Give what the wire shows of an event: its moment, what happened, and a preview's picture in base64."""
    data = {name: value for name, value in event.data.items() if name != "at_ms"}
    shown = {"at": moment(event.data["at_ms"]).isoformat().replace("+00:00", "Z"), **data}
    if event.blob is not None:
        shown["image"] = base64.b64encode(event.blob).decode()
    return shown
