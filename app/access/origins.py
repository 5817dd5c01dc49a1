"""Which web pages of other origins may call the API."""

from __future__ import annotations

import re

_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def parse_origins(text: str) -> tuple[str, ...]:
    """Read origins, comma-separated.

    Args:
        text: Such as `https://photos.example, http://localhost:3000`; `*` alone is every origin.

    Raises:
        ValueError: One of them is no origin.
    """
    origins = tuple(origin.strip() for origin in text.split(",") if origin.strip())
    if origins == ("*",):
        return origins
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"got {origin[:100]!r}; expected an origin such as https://photos.example, without a path or a slash "
                "at its end, or * alone"
            )
    # Browsers send them in lower case.
    return tuple(origin.lower() for origin in origins)
