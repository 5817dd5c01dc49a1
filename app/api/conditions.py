"""What a caller may say about an answer it wants: conditions, ranges, media types (RFC 9110). Texts in, values out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.errors import RangeNotSatisfiableError

_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})", re.IGNORECASE)
_ETAG = re.compile(r'(?:W/)?"[^"]*"')


@dataclass(frozen=True)
class ByteRange:
    """A part of a file.

    Attributes:
        start: First byte.
        stop: Byte after the last.
    """

    start: int
    stop: int


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Say whether the caller has the very thing that this strong tag names (If-None-Match, weak comparison)."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return etag in [tag.removeprefix("W/") for tag in _ETAG.findall(if_none_match)]


def is_other(if_match: str | None, etag: str) -> bool:
    """Say whether the caller wants something else than what this strong tag names (If-Match, strong comparison)."""
    if if_match is None or if_match.strip() == "*":
        return False
    return etag not in _ETAG.findall(if_match)


def wanted_range(header: str | None, if_range: str | None, etag: str, size: int) -> ByteRange | None:
    """Give the part that a caller wants, or None for the whole.

    Several ranges, other units and what cannot be understood give the whole, as the standard allows; so does an
    If-Range that is not this strong tag (a date never is: a tag is all that a result has).

    Args:
        header: Value of Range, or None.
        if_range: Value of If-Range, or None.
        etag: Strong tag of the file.
        size: Size of the file in bytes, at least 1.

    Raises:
        RangeNotSatisfiableError: The part is not in the file.
    """
    match = _RANGE.fullmatch(header.strip()) if header is not None else None
    if match is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if first:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return None  # no range at all, by the grammar
    else:
        start, stop = max(0, size - int(last)), size
    if start >= stop:
        raise RangeNotSatisfiableError(f"The result has {size} bytes; the range {header!r} is not among them.")
    return ByteRange(start, stop)


def accepts(header: str | None, media_type: str) -> bool:
    """Say whether a caller takes a media type (Accept; the most specific range that fits decides)."""
    if header is None or not header.strip():
        return True
    family = media_type.partition("/")[0]
    weights = {"": 0.0}
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weights[name] = next((_weight(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
    fitting = next((name for name in (media_type, f"{family}/*", "*/*") if name in weights), "")
    return weights[fitting] > 0


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0  # a caller that cannot count still wants something
