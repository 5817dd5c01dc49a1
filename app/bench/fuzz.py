"""Many hostile uploads through check, decoder and encoder, in a process that is watched: does it die, hang or grow?"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

_HANG_S = 60.0
_PARTS = 10


@dataclass
class Fuzzed:
    """What became of hostile uploads.

    Attributes:
        files: How many there were.
        outcomes: How often each code of a refusal came, or "restored".
        by_change: The same per way of changing a file.
        dead: Uploads that ended the process, by number.
        hung: Uploads that took longer than a minute, by number.
        uncaught: Uploads that raised something else than a refusal, by number.
        slowest_s: Longest time for one upload.
        slowest: Its number.
        largest_growth_bytes: Most memory that the process took for one upload beside what it had.
        largest: Its number.
        resident_bytes: Least memory that the process filled in each tenth of the uploads; what rises there is not given
            back. (The least, because the memory of one large upload may come back only with the next one.)
    """

    files: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    by_change: dict[str, dict[str, int]] = field(default_factory=dict)
    dead: list[int] = field(default_factory=list)
    hung: list[int] = field(default_factory=list)
    uncaught: list[int] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = -1
    largest_growth_bytes: int = 0
    largest: int = -1
    resident_bytes: list[int] = field(default_factory=list)

    @property
    def kept_bytes(self) -> int:
        """Memory not given back from the second tenth to the last; the first one is for what is loaded once."""
        return self.resident_bytes[-1] - self.resident_bytes[1] if len(self.resident_bytes) > 1 else 0

    def add(self, row: dict[str, Any], files: int) -> None:
        """Count one upload of so many that ended in some way."""
        index, outcome = int(row["index"]), str(row["outcome"])
        self.files += 1
        for counts in (self.outcomes, self.by_change.setdefault(str(row["change"]), {})):
            counts[outcome] = counts.get(outcome, 0) + 1
        if outcome.startswith("uncaught"):
            self.uncaught.append(index)
        if row["seconds"] > self.slowest_s:
            self.slowest_s, self.slowest = float(row["seconds"]), index
        if row["growth_bytes"] > self.largest_growth_bytes:
            self.largest_growth_bytes, self.largest = int(row["growth_bytes"]), index
        part, resident = index * _PARTS // files, int(row["resident_bytes"])
        if part < len(self.resident_bytes):
            self.resident_bytes[part] = min(self.resident_bytes[part], resident)
        else:
            self.resident_bytes.append(resident)


def fuzz(
    files: int, seed: int, on_progress: Callable[[int], None] = lambda done: None, module: str = "app.bench.hostile"
) -> Fuzzed:
    """Send hostile uploads through a watched process; it is started anew behind one that ended it.

    Args:
        files: How many.
        seed: Of everything random.
        on_progress: Called with the number of those done.
        module: What to run; takes seed, first number and count, and prints rows as `app.bench.hostile` does.
    """
    fuzzed = Fuzzed()
    index = 0
    while index < files:
        rows = _watch([sys.executable, "-m", module, str(seed), str(index), str(files - index)])
        for row in rows:
            if row is None:
                fuzzed.hung.append(index)
                index += 1
                break
            fuzzed.add(row, files)
            index = int(row["index"]) + 1
            on_progress(index)
        else:
            if index < files:
                fuzzed.dead.append(index)
                index += 1
    fuzzed.files += len(fuzzed.dead) + len(fuzzed.hung)
    return fuzzed


def _watch(command: list[str]) -> Iterator[dict[str, Any] | None]:
    """Give the rows of a process as they come, and None, as the last one, if none came for a minute."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603
    lines: queue.Queue[str] = queue.Queue()
    if process.stdout is None:
        raise RuntimeError("the process has no output to read")
    reader = threading.Thread(target=_read, args=(process.stdout, lines), name="rows", daemon=True)
    reader.start()
    try:
        while line := lines.get(timeout=_HANG_S):
            yield json.loads(line)
    except queue.Empty:
        yield None
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def _read(stream: IO[str], lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")
