"""Processes of a service that are watched while it works: their memory, and whether they were started anew.

Two ways to look: at the children of a service of one's own, by Linux' books, or at the metrics that a service shows.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx
from prometheus_client.parser import text_string_to_metric_families

_PROC = Path("/proc")
_EVERY_S = 0.25
_ROLES = {"api": "API", "worker": "worker", "redis-server": "Redis"}
_GAUGES = ("process_start_time_seconds", "process_resident_memory_bytes")


@dataclass(frozen=True)
class Sign:
    """A process at one moment.

    Attributes:
        identity: Changes when it is started anew: its number, or the time of its start.
        resident_bytes: Memory that it fills.
        peak_bytes: Most that it filled since the watch began, as far as one can know.
    """

    identity: float
    resident_bytes: int
    peak_bytes: int


Look = Callable[[], dict[str, Sign]]
"""Gives the processes that are there now, by name."""


@dataclass
class Vitals:
    """What was seen of one process.

    Attributes:
        first_bytes: Memory that it filled at the beginning.
        largest_bytes: Most that it filled.
        last_bytes: What it filled at the end, 0 when it was gone.
        restarts: How often another process had taken its place.
        is_gone: Whether it was not there at the end.
    """

    first_bytes: int
    largest_bytes: int
    last_bytes: int
    restarts: int = 0
    is_gone: bool = False

    @property
    def growth_bytes(self) -> int:
        """Most memory that it took beside what it had at the beginning."""
        return self.largest_bytes - self.first_bytes


class VitalsWatch:
    """Looks four times a second, in a thread of its own; use it as a context manager.

    Args:
        look: How to look.

    Attributes:
        seen: What was seen, by name; complete when the block has ended.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vitals", daemon=True)
        self._identities: dict[str, float] = {}
        self.seen: dict[str, Vitals] = {}

    def __enter__(self) -> VitalsWatch:
        for name, sign in self._look().items():
            self.seen[name] = Vitals(sign.resident_bytes, sign.resident_bytes, sign.resident_bytes)
            self._identities[name] = sign.identity
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.note()

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.note()

    def note(self) -> None:
        """Look now."""
        signs = self._look()
        for name, vitals in self.seen.items():
            sign = signs.get(name)
            vitals.is_gone = sign is None
            vitals.last_bytes = 0 if sign is None else sign.resident_bytes
            if sign is not None:
                vitals.largest_bytes = max(vitals.largest_bytes, sign.resident_bytes, sign.peak_bytes)
                vitals.restarts += sign.identity != self._identities[name]
                self._identities[name] = sign.identity


def can_see_processes() -> bool:
    """Say whether this system has the books that `watch_children` reads."""
    return (_PROC / "self" / "status").exists()


def watch_children(pid: int) -> VitalsWatch:
    """Watch API, worker and Redis of a `vlmir serve` on this machine; the kernel knows their peaks exactly.

    Args:
        pid: Of the service.
    """
    for child in _children(pid).values():
        with contextlib.suppress(OSError):
            (_PROC / str(child) / "clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    return VitalsWatch(lambda: {name: _sign_of(child) for name, child in _children(pid).items()})


def watch_metrics(urls: Mapping[str, str], headers: Mapping[str, str] | None = None) -> VitalsWatch:
    """Watch processes by their Prometheus metrics; what lies between two looks is not seen.

    Args:
        urls: Addresses of metrics, by name of the process.
        headers: Sent with every request.
    """

    def look() -> dict[str, Sign]:
        signs = {}
        for name, url in urls.items():
            with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
                signs[name] = read_sign(httpx.get(url, headers=dict(headers or {}), timeout=10.0).text)
        return signs

    return VitalsWatch(look)


def read_sign(text: str) -> Sign:
    """Read metrics in Prometheus' text format.

    Raises:
        ValueError: They cannot be read.
        KeyError: They do not tell start and memory of a process.
    """
    values = {family.name: family.samples[0].value for family in text_string_to_metric_families(text) if family.samples}
    started_s, resident_bytes = (values[name] for name in _GAUGES)
    return Sign(started_s, int(resident_bytes), int(resident_bytes))


def cpu_seconds(pid: int) -> float:
    """Give the processor time that a process has used; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        # Behind the name, which stands in parentheses and may hold anything: user and system time are fields 14 and 15.
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _children(pid: int) -> dict[str, int]:
    """Give the children of a service, by what they do."""
    found = {}
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            if int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]) != pid:
                continue
            text = (folder / "cmdline").read_text(encoding="utf-8")
            words = [Path(word).name for word in text.replace("\0", " ").split()]  # Redis puts spaces into its own
            for word, name in _ROLES.items():
                if word in words:
                    found[name] = int(folder.name)
    return found


def _sign_of(pid: int) -> Sign:
    fields = {"VmRSS": 0, "VmHWM": 0}
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name in fields:
                fields[name] = int(value.split()[0]) * 1024
    return Sign(pid, fields["VmRSS"], fields["VmHWM"])
