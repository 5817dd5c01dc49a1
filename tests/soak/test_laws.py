"""Growth is told from noise, and counts from their levels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.soak.judging import judge
from tests.soak.laws import MOST_GROWTH, judge_growth, judge_levels, trend
from tests.soak.outcome import Outcome, Plan

TIMES = [2.0 * number for number in range(600)]
MIB = 2**20


def memory(seed: int, growth: float = 0.0, noise: float = 0.05) -> list[float]:
    """A hundred MiB that grow by a share over the second half, under noise with spikes to twice as much."""
    chance = np.random.default_rng(seed)
    share = np.clip(np.arange(600) / 300 - 1, 0, 1) * growth
    spikes = np.where(chance.random(600) < 0.1, chance.random(600), 0)
    return list(100 * MIB * (1 + share + spikes + noise * chance.normal(size=600)))


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_spikes_are_no_growth(seed: int) -> None:
    found = trend(TIMES, memory(seed))
    assert abs(found.growth) < 0.02
    assert found.level == pytest.approx(100 * MIB, rel=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_growth_is_found_under_noise(seed: int) -> None:
    assert trend(TIMES, memory(seed, 0.03, 0.01)).growth == pytest.approx(0.03, abs=0.01)
    assert not judge_growth("API", trend(TIMES, memory(seed, 0.03, 0.01))).is_kept
    assert judge_growth("API", trend(TIMES, memory(seed, 0.0, 0.005))).is_kept


def test_what_is_learnt_in_the_first_half_does_not_count() -> None:
    values = [50.0 * MIB] * 200 + [100.0 * MIB] * 400
    found = trend(TIMES, values)
    assert found.growth == 0
    assert found.quarters == (50 * MIB, 100 * MIB, 100 * MIB, 100 * MIB)


def test_the_line_is_that_of_a_steady_rise() -> None:
    found = trend(TIMES, [1000.0 + time for time in TIMES])
    assert found.line == pytest.approx((1600.0, 2198.0))
    assert found.growth == pytest.approx(598 / 1899)


def test_long_runs_are_thinned_out() -> None:
    times = [float(number) for number in range(20_000)]
    assert trend(times, [1e6 + time for time in times]).growth == pytest.approx(1e4 / 1.015e6, rel=0.01)


def test_a_small_growth_just_above_the_bound_breaks_the_law() -> None:
    steady = [100.0 + 2 * MOST_GROWTH * 100 * time / TIMES[-1] for time in TIMES]
    assert judge_growth("API", trend(TIMES, steady)).is_kept
    steeper = [100.0 + 2.2 * MOST_GROWTH * 100 * time / TIMES[-1] for time in TIMES]
    assert not judge_growth("API", trend(TIMES, steeper)).is_kept


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        trend([1.0], [1.0])


def test_levels_may_fall_and_rise_only_to_a_bound() -> None:
    before = {"files": 10, "sockets": 3, "keys": 5}
    verdicts = judge_levels(before, {"files": 9, "sockets": 20, "keys": 6}, {"sockets": 32})
    assert [verdict.is_kept for verdict in verdicts] == [True, True, False]
    assert verdicts[2].found == "5 -> 6"


@pytest.mark.parametrize(
    ("name", "before", "most"),
    [
        ("API: memory", 100 * MIB, 105 * MIB),
        ("Redis: memory", 16 * MIB, 16 * MIB * 105 // 100),
        ("Redis: used memory", 2 * MIB, 2 * MIB * 105 // 100),
        ("API: open files", 5, 5),
        ("API: threads", 3, 7),
        ("API: unix sockets", 10, 74),
        ("Redis: keys", 5, 5),
        ("Redis: consumers", 1, 2),
    ],
)
def test_levels_are_held_to_their_bounds(name: str, before: int, most: int) -> None:
    for after, is_kept in ((most, True), (most + 1, False)):
        outcome = Outcome(Plan(1200.0), before={name: before}, after={name: after})
        judge(outcome)
        assert outcome.is_good == is_kept, outcome.verdicts


def test_failures_tracebacks_and_unknown_keys_break_laws() -> None:
    outcome = Outcome(Plan(1200.0), complaints=1, lasting={"{vlmir}:strange": 1, "{vlmir}:workers": 1})
    outcome.tally.failures.append("a scene")
    judge(outcome)
    assert [verdict.is_kept for verdict in outcome.verdicts] == [False, False, False]
