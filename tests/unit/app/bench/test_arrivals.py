"""Arrivals are repeatable and as frequent as asked; percentiles are values that occurred."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.bench.arrivals import percentile, poisson, summarize

SHARES = {"small": 3.0, "large": 1.0}


def test_arrivals_follow_rate_and_shares_and_repeat() -> None:
    arrivals = poisson(50.0, 100.0, SHARES, seed=1)
    assert arrivals == poisson(50.0, 100.0, SHARES, seed=1)
    assert arrivals != poisson(50.0, 100.0, SHARES, seed=2)
    assert len(arrivals) == pytest.approx(5000, rel=0.06)
    assert sum(arrival.size == "small" for arrival in arrivals) / len(arrivals) == pytest.approx(0.75, abs=0.03)
    assert all(0 < first.at_s < second.at_s < 100 for first, second in itertools.pairwise(arrivals))
    gaps = [second.at_s - first.at_s for first, second in itertools.pairwise(arrivals)]
    mean = sum(gaps) / len(gaps)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.15)  # exponential


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="got no values"):
        percentile([], 0.5)


def test_latencies_are_summed_up_by_size() -> None:
    small, large = summarize([("small", 1.0), ("large", 9.0), ("small", 3.0), ("small", 2.0)])
    assert (small.size, small.count, small.p50_s, small.p99_s) == ("small", 3, 2.0, 3.0)
    assert (large.size, large.count, large.p50_s) == ("large", 1, 9.0)
