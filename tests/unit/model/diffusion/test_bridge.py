"""Figures of the bridge that can be worked out by hand, and arguments that make no bridge."""

from __future__ import annotations

import math

import pytest
import torch

from model.diffusion.bridge import get_jump, get_marginal, get_mean_weights, get_timesteps
from model.errors import ConfigError


def test_linear_schedule_by_hand() -> None:
    # B_t = final^((t/T)^2)
    weights = get_mean_weights(4, "linear", 0.0625)
    expected = [1.0, 0.0625 ** (1 / 16), 0.0625 ** (1 / 4), 0.0625 ** (9 / 16), 0.0625]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))


def test_cosine_schedule_is_half_way_in_the_middle() -> None:
    weights = get_mean_weights(100, "cosine", 0.005)
    # theta_bar at T/2 is 1/2 - 1/pi of the whole
    assert float(weights[50]) == pytest.approx(0.005 ** (0.5 - 1 / math.pi))


def test_marginal_at_the_end_is_nearly_the_noise_level() -> None:
    mean, std = get_marginal(torch.tensor(0.005), 10 / 255)
    assert float(mean) == pytest.approx(0.005)
    assert float(std) == pytest.approx(10 / 255, rel=1e-4)


def test_jump_by_hand() -> None:
    c_state, c_clean, std = get_jump(torch.tensor(0.25).double(), torch.tensor(0.5).double(), 1.0)
    assert float(c_state) == pytest.approx(0.5 * 0.75 / 0.9375)
    assert float(c_clean) == pytest.approx(0.5 * 0.75 / 0.9375)
    assert float(std) ** 2 == pytest.approx(0.75 * 0.75 / 0.9375)


@pytest.mark.parametrize(("timesteps", "final_mean"), [(0, 0.005), (-3, 0.005), (100, 0.0), (100, 1.0), (100, 2.0)])
def test_impossible_bridges_are_refused(timesteps: int, final_mean: float) -> None:
    with pytest.raises(ConfigError, match="expected 0 < final_mean < 1"):
        get_mean_weights(timesteps, "cosine", final_mean)


def test_unknown_schedule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'cosine' or 'linear'"):
        get_mean_weights(100, "sigmoid", 0.005)


def test_grids_of_one_and_four_steps() -> None:
    assert get_timesteps(100, 1) == [100]
    assert get_timesteps(100, 4) == [100, 75, 50, 25]
    assert get_timesteps(100, 100) == list(range(100, 0, -1))
