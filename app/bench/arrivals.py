"""When which photo arrives, and how to read the latencies that come out. Plain data, no service."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Arrival:
    """A photo of the size named `size` comes `at_s` seconds after the start."""

    at_s: float
    size: str


@dataclass(frozen=True)
class Latency:
    """Percentiles of one size, seconds from acceptance to the end of the job."""

    size: str
    count: int
    p50_s: float
    p95_s: float
    p99_s: float


def poisson(rate_per_s: float, duration_s: float, shares: Mapping[str, float], seed: int) -> list[Arrival]:
    """Arrivals of a Poisson process.

    Args:
        rate_per_s: Mean arrivals per second, above 0.
        duration_s: Length of the run.
        shares: Size name to its share of the arrivals; need not add up to 1.
        seed: Of everything random.
    """
    generator, at_s = random.Random(seed), 0.0  # noqa: S311  repeatable, not secret
    found: list[Arrival] = []
    names, weights = list(shares), list(shares.values())
    while True:
        at_s += generator.expovariate(rate_per_s)
        if at_s >= duration_s:
            return found
        found.append(Arrival(at_s, generator.choices(names, weights)[0]))


def summarize(latencies: Sequence[tuple[str, float]]) -> Iterator[Latency]:
    """Percentiles per size, in order of first appearance."""
    for size in dict.fromkeys(name for name, _ in latencies):
        values = sorted(seconds for name, seconds in latencies if name == size)
        yield Latency(size, len(values), *(percentile(values, share) for share in (0.5, 0.95, 0.99)))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank).

    Raises:
        ValueError: No values.
    """
    if not ordered:
        raise ValueError("got no values, expected at least one")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
