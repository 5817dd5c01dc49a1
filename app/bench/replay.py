"""One list of photos served by several policies, each in real time: who waits how long for what.

A policy is asked for one piece of work after the other, as the one device of a worker would be; between the pieces it
is told what has come. Latency counts from the moment at which a photo came by the list, so that nothing a policy does
can hide a wait.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.bench.arrivals import Arrival, Latency, summarize


@dataclass(frozen=True)
class Request:
    """A photo to restore: which one of the run, its size by name, and when it came."""

    index: int
    size: str
    at_s: float


@dataclass
class Slots:
    """How full the forwards were.

    Attributes:
        used: Places that held a tile, or a whole photo where a policy does not tile.
        offered: Places that the forwards could have had, the most of one forward times their number.
    """

    used: int = 0
    offered: int = 0

    def count(self, used: int, most: int) -> None:
        """Add one forward."""
        self.used += used
        self.offered += most

    @property
    def occupancy(self) -> float:
        """Share of the places that were used; 0 before the first forward."""
        return self.used / self.offered if self.offered else 0.0


class Policy(Protocol):
    """A way to serve photos."""

    name: str
    slots: Slots

    def offer(self, request: Request) -> None:
        """Take a photo on; called in order of arrival."""

    def work(self, now_s: float) -> list[Request]:
        """Do one piece of work, if there is any to be done now; gives the photos that are done."""

    def wait_s(self, now_s: float) -> float | None:
        """Time until there is work to be done: 0 if there is now, None if only a new photo makes any."""


class Clock:
    """Real time."""

    def __init__(self) -> None:
        self._begun_s = time.perf_counter()

    def now_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._begun_s

    def sleep(self, seconds: float) -> None:
        """Let time pass while nobody has work."""
        time.sleep(seconds)


class SkippingClock(Clock):
    """Real time for work, none for waiting: a run with idle times takes only as long as its work.

    Figures are those of real time as long as the machine works as fast right after other work as after a pause.
    """

    def sleep(self, seconds: float) -> None:
        """Count the time as passed at once."""
        self._begun_s -= seconds


@dataclass(frozen=True)
class Served:
    """What one policy made of one list of photos.

    Attributes:
        policy: Its name.
        load: Name of the list.
        seconds: From the start to the end of the last photo.
        photos: That were served, all of them.
        photos_per_s: Photos over the seconds.
        megapixels_per_s: Likewise.
        occupancy: Share of the places of all forwards that held a tile or photo.
        latencies: Per size.
    """

    policy: str
    load: str
    seconds: float
    photos: int
    photos_per_s: float
    megapixels_per_s: float
    occupancy: float
    latencies: tuple[Latency, ...]


@dataclass
class OpenLoop:
    """Photos that come when they come."""

    arrivals: Sequence[Arrival]
    _next: int = 0

    def due(self, now_s: float) -> list[Request]:
        """Give what has come since the last call."""
        found = []
        while self._next < len(self.arrivals) and self.arrivals[self._next].at_s <= now_s:
            arrival = self.arrivals[self._next]
            found.append(Request(self._next, arrival.size, arrival.at_s))
            self._next += 1
        return found

    def next_s(self) -> float | None:
        """When the next photo comes; None when all have."""
        return self.arrivals[self._next].at_s if self._next < len(self.arrivals) else None

    def ended(self, now_s: float) -> None:
        """Nobody waits for a photo to be done."""


@dataclass
class ClosedLoop:
    """Callers who each send their next photo as soon as the last one is done; sizes in the order given."""

    sizes: Sequence[str]
    callers: int
    _sent: int = 0
    _ready_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ready_s = [0.0] * self.callers

    def due(self, now_s: float) -> list[Request]:
        """Give one photo for each caller who waits for none, as long as there are any."""
        found = []
        while self._ready_s and self._sent < len(self.sizes):
            found.append(Request(self._sent, self.sizes[self._sent], self._ready_s.pop(0)))
            self._sent += 1
        return found

    def next_s(self) -> float | None:
        """Only the end of a photo brings a new one."""
        return None

    def ended(self, now_s: float) -> None:
        """A caller got a photo."""
        self._ready_s.append(now_s)


Source = OpenLoop | ClosedLoop


def replay(policy: Policy, source: Source, load: str, megapixels: dict[str, float], clock: Clock) -> Served:
    """Serve every photo of a source with one policy.

    Args:
        policy: Fresh, without work.
        source: Fresh, too.
        load: Name of the source.
        megapixels: Of each size.
        clock: Fresh: its start is that of the run.

    Raises:
        RuntimeError: The policy keeps photos that it will never serve.
    """
    offered, done, latencies = 0, 0, []
    pixels = 0.0
    while True:
        for request in source.due(clock.now_s()):
            policy.offer(request)
            offered += 1
        ended = policy.work(clock.now_s())
        now_s = clock.now_s()
        for request in ended:
            latencies.append((request.size, now_s - request.at_s))
            pixels += megapixels[request.size]
            done += 1
            source.ended(now_s)
        pause_s = policy.wait_s(clock.now_s())
        if ended or pause_s == 0:
            continue
        next_s = source.next_s()
        waits = [pause_s] if pause_s is not None else []
        if next_s is not None:
            waits.append(max(0.0, next_s - clock.now_s()))
        if not waits:
            break
        clock.sleep(min(waits))
    if done < offered:
        raise RuntimeError(f"{policy.name}: {offered - done} of {offered} photos were never served")
    seconds = clock.now_s()
    latencies.sort(key=lambda pair: megapixels[pair[0]])  # the same order of sizes in every table
    return Served(
        policy.name,
        load,
        seconds,
        done,
        done / seconds,
        pixels / seconds,
        policy.slots.occupancy,
        tuple(summarize(latencies)),
    )
