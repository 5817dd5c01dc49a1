"""The closed forms of the bridge agree with each other at all times, schedules and noise levels."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from model.diffusion.bridge import get_jump, get_marginal, get_mean_weights, get_timesteps
from model.errors import ConfigError

SCHEDULES = st.sampled_from(["cosine", "linear"])
FINAL_MEANS = st.floats(1e-4, 0.9)
LEVELS = st.floats(0.0, 50 / 255)


@st.composite
def bridges(draw: st.DrawFn, smallest: int = 3) -> torch.Tensor:
    """B_t of some bridge, float64."""
    return get_mean_weights(draw(st.integers(smallest, 200)), draw(SCHEDULES), draw(FINAL_MEANS))


@st.composite
def falling_times(draw: st.DrawFn, weights: torch.Tensor, count: int) -> list[int]:
    """Different times of a bridge, falling, the last one possibly 0."""
    times = st.sets(st.integers(0, len(weights) - 1), min_size=count, max_size=count)
    return sorted(draw(times), reverse=True)


@given(st.integers(1, 300), SCHEDULES, FINAL_MEANS)
@settings(deadline=None)
def test_mean_weights_fall_from_one_to_the_final_mean(timesteps: int, schedule: str, final_mean: float) -> None:
    weights = get_mean_weights(timesteps, schedule, final_mean)
    assert weights.shape == (timesteps + 1,)
    assert weights.dtype == torch.float64
    assert float(weights[0]) == 1.0
    assert float(weights[-1]) == pytest.approx(final_mean, rel=1e-9)
    assert bool((weights.diff() < 0).all())


@given(bridges(), LEVELS)
@settings(deadline=None)
def test_marginal_starts_at_the_clean_photo_and_keeps_its_variance_bounded(weights: torch.Tensor, level: float) -> None:
    mean, std = get_marginal(weights, level)
    assert float(mean[0]) == 1.0
    assert float(std[0]) == 0.0
    assert bool((std.diff() >= 0).all())
    assert bool((std <= level).all())


@given(st.data(), bridges(), st.floats(1e-3, 50 / 255))
@settings(deadline=None)
def test_two_jumps_with_the_true_photo_are_one_jump(data: st.DataObject, weights: torch.Tensor, level: float) -> None:
    t, u, s = (weights[time] for time in data.draw(falling_times(weights, 3)))
    state_tu, clean_tu, std_tu = get_jump(t, u, level)
    state_us, clean_us, std_us = get_jump(u, s, level)
    state_ts, clean_ts, std_ts = get_jump(t, s, level)
    # mean and variance of x_s when x_u is itself the outcome of a jump
    torch.testing.assert_close(state_us * state_tu, state_ts, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(state_us * clean_tu + clean_us, clean_ts, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close((state_us * std_tu) ** 2 + std_us**2, std_ts**2, rtol=1e-6, atol=1e-12)


@given(st.data(), bridges(2), st.floats(1e-3, 50 / 255))
@settings(deadline=None)
def test_a_jump_from_the_marginal_arrives_at_the_marginal(
    data: st.DataObject, weights: torch.Tensor, level: float
) -> None:
    t, s = (weights[time] for time in data.draw(falling_times(weights, 2)))
    c_state, c_clean, std = get_jump(t, s, level)
    (mean_t, std_t), (mean_s, std_s) = get_marginal(t, level), get_marginal(s, level)
    torch.testing.assert_close(c_state * mean_t + c_clean, mean_s, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close((c_state * std_t) ** 2 + std**2, std_s**2, rtol=1e-6, atol=1e-12)


@given(st.data(), bridges(2), LEVELS)
@settings(deadline=None)
def test_a_jump_to_zero_returns_the_estimate(data: st.DataObject, weights: torch.Tensor, level: float) -> None:
    time = data.draw(st.integers(1, len(weights) - 1))
    c_state, c_clean, std = get_jump(weights[time], weights[0], level)
    assert float(c_state) == 0.0
    assert float(c_clean) == pytest.approx(1.0, abs=1e-12)
    assert float(std) == 0.0


@given(st.data(), bridges(2), st.floats(1e-3, 50 / 255))
@settings(deadline=None)
def test_a_jump_is_a_mixture_with_positive_noise(data: st.DataObject, weights: torch.Tensor, level: float) -> None:
    times = data.draw(falling_times(weights, 2))
    c_state, c_clean, std = get_jump(weights[times[0]], weights[times[1]], level)
    assert 0 <= float(c_state) < 1
    assert 0 < float(c_clean) <= 1 + 1e-12
    assert float(std) > 0 or times[1] == 0


@given(st.integers(1, 300), st.data())
@settings(max_examples=50, deadline=None)
def test_grid_starts_at_the_end_of_the_bridge_and_falls_to_one_or_more(timesteps: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, timesteps))
    grid = get_timesteps(timesteps, steps)
    assert len(grid) == steps
    assert grid[0] == timesteps
    assert grid[-1] >= 1
    assert all(first > second for first, second in itertools.pairwise(grid))


@given(st.integers(1, 300), st.integers())
@settings(max_examples=50, deadline=None)
def test_step_counts_outside_the_bridge_are_refused(timesteps: int, steps: int) -> None:
    if 1 <= steps <= timesteps:
        return
    with pytest.raises(ConfigError, match=f"expected 1 to {timesteps}"):
        get_timesteps(timesteps, steps)
