"""Where results go: names of files, and writing them so that none is ever half there."""

from __future__ import annotations

import os
import tempfile
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
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".vlmir-")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)  # temporary files are private, results need not be
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
