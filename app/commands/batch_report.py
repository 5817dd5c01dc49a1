"""The report of a batch: a CSV file with a row per photo, which grows as photos end and lasts over several runs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from app.commands.result_files import write_whole

PRESENT = "present"
"""State of a photo whose result was there before and which no report tells about."""
_NAMES = "surrogateescape"  # names of files may be no text
# Spreadsheets run cells that begin so, and names and captions are other people's. An apostrophe in front makes it a
# text; cells that look as if they had one already get another, so that all can be read back.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


@dataclass(frozen=True)
class Row:
    """What became of a photo.

    Attributes:
        file: Its path within the folder.
        state: "succeeded", "failed", "canceled", or `PRESENT`.
        seconds: From reading the photo to writing the result, waiting included; empty when unknown.
        kinds: Damage that was found or told, the surest first, comma-separated.
        caption: Caption that guided the restoration.
        error: Code and reason of a failure.
    """

    file: str
    state: str
    seconds: str = ""
    kinds: str = ""
    caption: str = ""
    error: str = ""


HEADER = tuple(field.name for field in fields(Row))


class ReportError(ValueError):
    """There is a file in the report's place that is no report."""


class Report:
    """Rows by photo; the newest one counts.

    Args:
        path: The file. Rows of an earlier run are taken over.

    Raises:
        ReportError: The file is something else.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = _read(path) if path.exists() else {}

    def begin(self) -> None:
        """Write what is known, so that there is a file to add to.

        Raises:
            OSError: It cannot be written.
        """
        write_whole(self.path, _as_csv([HEADER, *map(astuple, self._sorted())]).encode("utf-8", _NAMES))

    def add(self, row: Row) -> None:
        """Write down a row at once: if this process ends now, the row is there."""
        self.rows[row.file] = row
        with self.path.open("a", encoding="utf-8", errors=_NAMES, newline="") as file:
            file.write(_as_csv([astuple(row)]))

    def end(self) -> None:
        """Write the file anew, with one row per photo, in the order of their names."""
        self.begin()

    def _sorted(self) -> list[Row]:
        return [self.rows[name] for name in sorted(self.rows)]


def _as_csv(rows: Iterable[tuple[str, ...]]) -> str:
    target = io.StringIO()
    csv.writer(target).writerows([_as_text(cell) for cell in row] for row in rows)
    return target.getvalue()


def _as_text(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _from_text(cell: str) -> str:
    return cell.removeprefix("'") if _FORMULA.match(cell) else cell


def _read(path: Path) -> dict[str, Row]:
    with path.open(encoding="utf-8", errors=_NAMES, newline="") as file:
        lines = csv.reader(file)
        try:
            header = tuple(next(lines, HEADER))
            if header != HEADER:
                raise ReportError(f"{path} begins with {','.join(header)[:60]!r}, expected {','.join(HEADER)}")
            # A line that a run could not finish, because it was killed or the disk was full, is passed over.
            rows = [Row(*map(_from_text, line)) for line in lines if len(line) == len(HEADER)]
            return {row.file: row for row in rows}
        except csv.Error as error:
            raise ReportError(f"{path} is no CSV file ({error})") from None
