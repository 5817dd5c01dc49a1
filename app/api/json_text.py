"""JSON from callers: read strictly, so that whatever is accepted can also be written again."""

from __future__ import annotations

import json
from typing import Any

from app.errors import InvalidRequestError

MOST_VALUES = 250_000
"""Most commas, brackets and braces in a text: each may stand for a value, which takes many times that in memory."""


def parse_json_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InvalidRequestError: It is no JSON text, no object, nested too deeply, has too many values, or holds what JSON
            cannot (NaN, infinities, halves of characters).
    """
    if sum(data.count(sign) for sign in (b",", b"[", b"{")) > MOST_VALUES:
        raise InvalidRequestError(f"it has more than {MOST_VALUES:,} values (commas, brackets and braces)")
    try:
        value = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):  # a UnicodeDecodeError is a ValueError too
        raise InvalidRequestError("it is no JSON text") from None
    if not isinstance(value, dict):
        raise InvalidRequestError("it is no JSON object")
    dump_json(value)
    return value


def dump_json(value: Any) -> bytes:
    """Give the shortest JSON text of a value in UTF-8.

    Raises:
        InvalidRequestError: It holds numbers or characters that JSON texts cannot hold, or is nested too deeply.
    """
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        raise InvalidRequestError("it holds what JSON cannot hold") from None


def nesting_of(value: Any) -> int:
    """Count the levels of objects and arrays in a JSON value: 0 for a number, 1 for `{}`, 2 for `{"a": []}`."""
    levels, inner = 0, [value]
    while boxes := [item for item in inner if isinstance(item, dict | list)]:
        levels += 1
        inner = [item for box in boxes for item in (box.values() if isinstance(box, dict) else box)]
    return levels


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
