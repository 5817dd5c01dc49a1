"""`vlmir serve`, `api` and `worker` as processes of their own, and what docs/startup.md says that they say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from app.settings import ENV_PREFIX

PAGE = Path(__file__).parents[2] / "docs" / "startup.md"
WAIT_S = 120.0


@dataclass
class Role:
    """One process.

    Attributes:
        process: The process; its output goes to a file.
        log: That file: standard output and standard error together.
        deadline_s: Until when to wait for what it says, on the monotonic clock.
    """

    process: subprocess.Popen[bytes]
    log: Path
    deadline_s: float = field(default_factory=lambda: time.monotonic() + WAIT_S)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def end(self, within_s: float = WAIT_S) -> int:
        """Waits for the end by itself; gives the code."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within_s} s:\n{self.output}") from None

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.end()

    def wait_for_line(self, start: str) -> str:
        """Gives what follows in the first line that begins so."""
        while True:
            for line in self.output.splitlines():
                if line.startswith(start):
                    return line[len(start) :]
            self._wait(start)

    def wait_for_row(self, row: PageRow) -> None:
        """Returns when it has said what stands in a row of docs/startup.md."""
        while not row.is_in(self.output):
            self._wait(row.message)

    def _wait(self, what: str) -> None:
        assert self.is_alive(), f"ended with {self.process.returncode} before {what!r}:\n{self.output}"
        assert time.monotonic() < self.deadline_s, f"no {what!r}:\n{self.output}"
        time.sleep(0.05)


def environment_of(settings: Mapping[str, object]) -> dict[str, str]:
    """The environment of this process with these settings and no others.

    Args:
        settings: By their names without the prefix; behind a = other variables.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    own = {name[1:] if name[0] == "=" else ENV_PREFIX + name: str(value) for name, value in settings.items()}
    return clean | own


def start_role(log: Path, *arguments: object, python: object = sys.executable, **settings: object) -> Role:
    """Starts `vlmir` with arguments, and settings as `environment_of` takes them."""
    command = [str(python), "-m", "app.cli", *(str(argument) for argument in arguments)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=environment_of(settings), stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    return Role(process, log)


@contextmanager
def role(log: Path, *arguments: object, **settings: object) -> Iterator[Role]:
    """The same, killed at the end if it still runs."""
    running = start_role(log, *arguments, **settings)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def is_running(pid: int) -> bool:
    """Whether a process is there and no mere leftover that nobody has asked after."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], within_s: float = WAIT_S) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen"
        time.sleep(0.05)


def answer_of(url: str) -> httpx.Response | None:
    """The answer to GET, or None when nobody answers."""
    try:
        return httpx.get(url, timeout=10)
    except httpx.TransportError:
        return None


@dataclass(frozen=True)
class PageRow:
    """One row of the tables of docs/startup.md.

    Attributes:
        message: What is printed; dots stand for what differs.
        code: Exit code, or None where the process goes on.
    """

    message: str
    code: int | None

    def is_in(self, output: str) -> bool:
        pattern = ".*".join(re.escape(part) for part in self.message.split("..."))
        return re.search(pattern, output) is not None


def page_rows() -> list[PageRow]:
    """All rows that begin with a message."""
    rows = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        if len(cells) == 4 and cells[0].startswith("`"):
            rows.append(PageRow(cells[0].strip("`"), int(cells[3]) if cells[3].isdecimal() else None))
    return rows


def page_row(beginning: str) -> PageRow:
    """The one row of docs/startup.md whose message begins so."""
    found = [row for row in page_rows() if row.message.startswith(beginning)]
    assert len(found) == 1, f"{len(found)} rows of {PAGE.name} begin with {beginning!r}"
    return found[0]
