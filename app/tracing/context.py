"""The `traceparent` header of W3C Trace Context: read, and carried on as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


def parse_traceparent(headers: Sequence[str]) -> str | None:
    """Give the traceparent of a request in the form of version 00, or None without a valid one.

    One that is not valid is passed over, as the standard asks: a trace is never a reason to refuse a request.

    Args:
        headers: Values of all traceparent headers.
    """
    match = _FORM.fullmatch(headers[0].strip(" \t")) if len(headers) == 1 else None
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    is_known = version == "00" and more is None
    is_later = version not in ("00", "ff")  # whose beginning reads like that of version 00
    if not (is_known or is_later) or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    return f"00-{trace_id}-{parent_id}-{flags}"


def trace_id_of(traceparent: str) -> str:
    """Give the id of the trace that a traceparent made by `parse_traceparent` belongs to: 32 hex digits."""
    return traceparent.split("-")[1]
