"""What a run is judged by: memory that does not grow, and counts that come back to their level. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

MOST_GROWTH = 0.01
"""Most growth of a process's memory over the second half of the load, as a share of what it has there."""

_MOST_SAMPLES = 1000  # all pairs of them are looked at


@dataclass(frozen=True)
class Verdict:
    """One law and what was found.

    Attributes:
        name: Of what.
        found: In words.
        bound: In words.
        is_kept: Whether it holds.
    """

    name: str
    found: str
    bound: str
    is_kept: bool


@dataclass(frozen=True)
class Trend:
    """How a series moved over its second half.

    Attributes:
        level: Median of the second half.
        growth: What the fitted line gained over the second half, as a share of `level`.
        quarters: Median of each quarter.
        line: Values of the fitted line at the beginning and the end of the second half.
    """

    level: float
    growth: float
    quarters: tuple[float, ...]
    line: tuple[float, float]


def trend(times: Sequence[float], values: Sequence[float]) -> Trend:
    """Fit a line to the second half of a series by the method of Theil and Sen.

    Its slope is the median of the slopes of all pairs of samples. That needs no assumption about the noise, and up to
    29 % of the samples may be anything: what a process takes for a moment and gives back does not count, and what it
    takes and keeps counts in full.

    Args:
        times: When each value was taken, in seconds, rising.
        values: The values, all above zero, at least eight.

    Raises:
        ValueError: There are too few values, or not as many as times.
    """
    if len(values) < 8 or len(values) != len(times):
        raise ValueError(f"got {len(times)} times and {len(values)} values; expected as many, and at least 8")
    at, of = np.asarray(times, float), np.asarray(values, float)
    middle = at[0] + (at[-1] - at[0]) / 2
    late_at, late_of = at[at >= middle], of[at >= middle]
    level = float(np.median(late_of))
    slope = _slope(late_at, late_of)
    offset = float(np.median(late_of - slope * late_at))
    line = (offset + slope * float(late_at[0]), offset + slope * float(late_at[-1]))
    ends = np.linspace(at[0], at[-1], 5)
    inside = [(at >= start) & (at <= stop) for start, stop in pairwise(ends)]
    quarters = tuple(float(np.median(of[chosen])) for chosen in inside if chosen.any())
    return Trend(level, (line[1] - line[0]) / level, quarters, line)


def _slope(at: npt.NDArray[np.float64], of: npt.NDArray[np.float64]) -> float:
    if len(at) > _MOST_SAMPLES:
        chosen = np.linspace(0, len(at) - 1, _MOST_SAMPLES).round().astype(int)
        at, of = at[chosen], of[chosen]
    first, second = np.triu_indices(len(at), 1)
    return float(np.median((of[second] - of[first]) / (at[second] - at[first])))


def judge_growth(name: str, found: Trend) -> Verdict:
    """Hold a process's memory against `MOST_GROWTH`."""
    text = f"{found.growth:+.2%} of {found.level / 2**20:.1f} MiB"
    return Verdict(
        f"{name}: growth of memory in the second half", text, f"{MOST_GROWTH:.0%}", found.growth <= MOST_GROWTH
    )


def judge_levels(
    before: Mapping[str, int], after: Mapping[str, int], bounds: Mapping[str, int] | None = None
) -> list[Verdict]:
    """Hold counts after a load against those before it.

    Args:
        before: Counts by name.
        after: The same afterwards; what is missing counts as 0.
        bounds: For some of the names, what they may come to all the same; for what is kept on purpose, up to a bound.
    """
    verdicts = []
    for name, level in before.items():
        most = max(level, (bounds or {}).get(name, 0))
        found = after.get(name, 0)
        verdicts.append(Verdict(name, f"{level:,} -> {found:,}", f"{most:,}", found <= most))
    return verdicts
