"""Many hostile uploads through check, decoder and encoder, in a process that is watched: does it die, hang or grow?"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

_HANG_S = 60.0
_WARM = 500  # uploads until memory that is kept on purpose has been taken


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
        kept_bytes: Growth of the process from upload 500 to the last one; 0 if it was started anew or there are fewer.
    """

    files: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    by_change: dict[str, Counter[str]] = field(default_factory=dict)
    dead: list[int] = field(default_factory=list)
    hung: list[int] = field(default_factory=list)
    uncaught: list[int] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = -1
    largest_growth_bytes: int = 0
    largest: int = -1
    kept_bytes: int = 0

    def add(self, row: dict[str, Any]) -> None:
        """Count one upload that ended in some way."""
        index, outcome = int(row["index"]), str(row["outcome"])
        self.files += 1
        self.outcomes[outcome] += 1
        self.by_change.setdefault(str(row["change"]), Counter())[outcome] += 1
        if outcome.startswith("uncaught"):
            self.uncaught.append(index)
        if row["seconds"] > self.slowest_s:
            self.slowest_s, self.slowest = float(row["seconds"]), index
        if row["growth_bytes"] > self.largest_growth_bytes:
            self.largest_growth_bytes, self.largest = int(row["growth_bytes"]), index


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
        first, warm_bytes, resident = index, 0, 0
        rows = _watch([sys.executable, "-m", module, str(seed), str(index), str(files - index)])
        for row in rows:
            if row is None:
                fuzzed.hung.append(index)
                index += 1
                break
            fuzzed.add(row)
            index = int(row["index"]) + 1
            resident = int(row["resident_bytes"])
            if index - first == _WARM:
                warm_bytes = resident
            on_progress(index)
        else:
            if index < files:
                fuzzed.dead.append(index)
                index += 1
        fuzzed.kept_bytes = max(resident - warm_bytes, 0) if warm_bytes and not first else 0
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
