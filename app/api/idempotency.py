"""The Idempotency-Key header, and what makes two requests the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any

from app.api.options import Submission
from app.errors import InvalidRequestError
from app.jobs.batch import BatchEntry

MAX_KEY_CHARS = 255
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')  # a string of RFC 8941
_BARE = re.compile(
    r"[!#-+\--:<-\[\]-~]+"
)  # what many clients send: printable, without blanks, quotes, comma, semicolon


def read_key(headers: Sequence[str]) -> str | None:
    """Read the key of a request, or None without one.

    The draft has a quoted string (`"8e03978e"`); the same characters without quotes are taken for the same key.

    Args:
        headers: Values of all Idempotency-Key headers.

    Raises:
        InvalidRequestError: There are several, or it is empty, too long or has other characters.
    """
    if not headers:
        return None
    text = headers[0].strip(" \t")
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text if _BARE.fullmatch(text) else ""
    if len(headers) > 1 or not key or len(key) > MAX_KEY_CHARS:
        raise InvalidRequestError(
            f"The Idempotency-Key is not valid. Send one, a quoted string of 1 to {MAX_KEY_CHARS} printable ASCII "
            'characters, such as "8e03978e-40d5-43dd-bc93-6894a57f9324".'
        )
    return key


def fingerprint(route: str, *parts: Any) -> str:
    """Give a digest of a request: its route, and what it asks for.

    Args:
        route: Where it was sent.
        parts: What it brought, `bytes` or whatever JSON can hold.
    """
    digest = hashlib.sha256(route.encode())
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        kind = b"bytes" if isinstance(part, bytes) else b"json"
        digest.update(b"\0%s %d\0" % (kind, len(data)))
        digest.update(data)
    return digest.hexdigest()


def submission_parts(submission: Submission) -> dict[str, Any]:
    """Give what counts of a submission: whatever differs from its defaults.

    So defaults may be given or left out, and an option that a later release adds changes no fingerprint of before.
    """
    return _given(submission) | {"options": _given(submission.options)}


def entry_parts(entry: BatchEntry) -> dict[str, Any]:
    """Give what counts of an entry of a batch, likewise."""
    return _given(entry) | {"options": _given(entry.options)}


def _given(values: Any) -> dict[str, Any]:
    """Give those fields of a dataclass that differ from their defaults."""
    given = {
        item.name: getattr(values, item.name)
        for item in fields(values)
        if item.default is MISSING or getattr(values, item.name) != item.default
    }
    is_nested = {name: is_dataclass(value) and not isinstance(value, type) for name, value in given.items()}
    return {name: asdict(value) if is_nested[name] else value for name, value in given.items()}
