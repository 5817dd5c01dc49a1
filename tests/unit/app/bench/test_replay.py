"""Latency counts from the arrival on the list, whatever a policy does meanwhile; every photo is served once."""

from __future__ import annotations

from collections import deque

import pytest

from app.bench.arrivals import Arrival
from app.bench.replay import Clock, ClosedLoop, OpenLoop, Request, SkippingClock, Slots, replay

PIXELS = {"small": 1.0, "large": 4.0}


class FakeClock(Clock):
    def __init__(self) -> None:
        self.time_s = 0.0
        self.slept_s = 0.0

    def now_s(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds
        self.slept_s += seconds


class Fifo:
    """Serves one photo after the other, each in a second per megapixel."""

    name = "fifo"

    def __init__(self, clock: FakeClock) -> None:
        self.slots = Slots()
        self.clock = clock
        self.waiting: deque[Request] = deque()

    def offer(self, request: Request) -> None:
        self.waiting.append(request)

    def work(self, now_s: float) -> list[Request]:
        if not self.waiting:
            return []
        request = self.waiting.popleft()
        self.clock.time_s += PIXELS[request.size]
        self.slots.count(1, 2)
        return [request]

    def wait_s(self, now_s: float) -> float | None:
        return 0.0 if self.waiting else None


class Lazy(Fifo):
    """Never serves anybody."""

    def work(self, now_s: float) -> list[Request]:
        return []

    def wait_s(self, now_s: float) -> float | None:
        return None


def test_photos_wait_from_the_moment_they_came() -> None:
    clock = FakeClock()
    arrivals = [Arrival(1.0, "large"), Arrival(2.0, "small"), Arrival(10.0, "small")]
    served = replay(Fifo(clock), OpenLoop(arrivals), "load", PIXELS, clock)
    latencies = {row.size: row for row in served.latencies}
    assert latencies["large"].p50_s == 4
    assert latencies["small"].p50_s == 1  # the last one met nobody
    assert latencies["small"].p99_s == 4  # came at 2, had to wait until 5
    assert (served.photos, served.seconds) == (3, 11)
    assert served.megapixels_per_s == pytest.approx(6 / 11)
    assert served.occupancy == 0.5
    assert clock.slept_s == 1 + (10 - 6)


def test_callers_of_a_closed_loop_send_when_they_are_served() -> None:
    clock = FakeClock()
    served = replay(Fifo(clock), ClosedLoop(["small"] * 6, 2), "closed", PIXELS, clock)
    (row,) = served.latencies
    assert (row.count, row.p50_s, row.p99_s) == (6, 2, 2)  # the other caller's photo goes first
    assert clock.slept_s == 0
    assert served.photos_per_s == 1


def test_a_policy_that_forgets_photos_is_an_error() -> None:
    clock = FakeClock()
    with pytest.raises(RuntimeError, match="1 of 1 photos were never served"):
        replay(Lazy(clock), OpenLoop([Arrival(0.0, "small")]), "load", PIXELS, clock)


def test_a_skipping_clock_counts_pauses_without_spending_them() -> None:
    clock = SkippingClock()
    clock.sleep(1000.0)
    assert 1000 <= clock.now_s() < 1010
