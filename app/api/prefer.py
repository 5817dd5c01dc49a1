"""The Prefer header of RFC 7240, as far as this service honours it."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ASYNC = re.compile(r'\s*respond-async\s*(?:=\s*(?:"")?\s*)?(?:;.*)?', re.IGNORECASE)
_WAIT = re.compile(r'\s*wait\s*(?:=\s*"?(\d{1,9})"?)?\s*(?:;.*)?', re.IGNORECASE)


def preferred_wait_s(headers: Iterable[str], max_wait_s: float) -> int | None:
    """Give the whole seconds for which the caller wants to wait, or None if it does not say.

    Preferences are hints, so one that cannot be understood is passed over, as the standard asks. A bare `wait` means
    as long as possible.

    Args:
        headers: Values of all Prefer headers.
        max_wait_s: Longest wait in seconds.
    """
    for header in headers:
        for preference in header.split(","):
            match = _WAIT.fullmatch(preference)
            if match:
                longest = int(max_wait_s)
                return longest if match[1] is None else min(int(match[1]), longest)
    return None


def prefers_async(headers: Iterable[str]) -> bool:
    """Tell whether the caller asks for an answer at once (`respond-async`), or once the time of a `wait` is up."""
    return any(_ASYNC.fullmatch(preference) for header in headers for preference in header.split(","))
