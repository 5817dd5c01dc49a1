"""Which files of a folder are photos, where their results go, and which are there already. Reads and never writes.

The name of a result follows from its photo's name alone, so that a later run finds it again whatever was added since.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from app.commands.result_files import SUFFIXES
from app.images import output_format, sniff_format

_HEAD_BYTES = 512


@dataclass(frozen=True)
class Entry:
    """One photo of a folder.

    Attributes:
        name: Its path within the folder, with slashes.
        source: The photo.
        target: Its result.
        error: Why it cannot be restored, or None.
    """

    name: str
    source: Path
    target: Path
    error: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether its result is there and not older than the photo."""
        if self.error is not None:
            return False
        try:
            result = self.target.stat()
            return result.st_size > 0 and result.st_mtime >= self.source.stat().st_mtime
        except OSError:
            return False


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        entries: The photos, in the order of their names.
        others: Number of files that are no photos.
    """

    entries: tuple[Entry, ...]
    others: int


def make_plan(folder: Path, out: Path, format: str | None) -> Plan:
    """Look through a folder and the folders in it, except hidden ones and that of the results.

    Whether a file is a photo is found out from its first bytes, as everywhere.

    Args:
        folder: With the photos.
        out: Where results go, under the same paths.
        format: Format of the results, or None for that of each photo.

    Raises:
        OSError: A folder cannot be read.
    """
    entries, others = [], 0
    files = _files(folder, out)
    taken = {path.resolve() for path in files}
    for source in files:
        name = source.relative_to(folder).as_posix()
        try:
            with source.open("rb") as file:
                found = sniff_format(file.read(_HEAD_BYTES))
        except OSError as error:
            entries.append(Entry(name, source, out / name, f"cannot be read: {error.strerror}"))
            continue
        if found is None:
            others += 1
            continue
        target = out / _result_name(Path(name), found, format)
        place = target.resolve()
        is_free = place not in taken
        taken.add(place)
        reason = f"its result would be written over {target}, another photo or result; rename it"
        entries.append(Entry(name, source, target, None if is_free else reason))
    return Plan(tuple(entries), others)


def _files(folder: Path, out: Path) -> list[Path]:
    found, results = [], out.resolve()
    for root, folders, files in os.walk(folder, onerror=_stop):
        here = Path(root)
        folders[:] = [name for name in folders if not name.startswith(".") and (here / name).resolve() != results]
        found += [here / name for name in files if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def _stop(error: OSError) -> None:
    raise error


def _result_name(source: Path, found: str, wanted: str | None) -> Path:
    """Keep a name whose ending fits the result, and add an ending to any other: a.heic becomes a.heic.jpg."""
    form = output_format(found, wanted)
    return source if SUFFIXES.get(source.suffix.lower()) == form.name else Path(f"{source}.{form.extension}")
