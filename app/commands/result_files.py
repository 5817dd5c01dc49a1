"""Where results go: names of files, and writing them so that none is ever half there."""

from __future__ import annotations

import secrets
from pathlib import Path

SUFFIXES = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".webp": "webp",
    ".avif": "avif",
    ".tif": "tiff",
    ".tiff": "tiff",
}
"""Formats of results by the endings of names."""


def write_whole(target: Path, data: bytes) -> None:
    """Write a file, and the folders above it, so that it is there in full or not at all.

    Raises:
        OSError: It cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not by `tempfile`, whose files are private: to undo that one would have to ask for the umask, which can only be
    # asked for by setting it, for all threads of the process.
    part = target.with_name(f".vlmir-{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:
            file.write(data)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
