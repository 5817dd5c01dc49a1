"""Closed forms of the mean-reverting bridge (IR-SDE) between a clean photo x_0 and its damaged version mu.

Paper: "Image Restoration with Mean-Reverting Stochastic Differential Equations" (arXiv 2301.11699); the jump over
several steps is the same Gaussian algebra as its optimal reverse step (arXiv 2404.09732, posterior sampling).

| symbol | name here | meaning |
|---|---|---|
| x_0, mu, x_t | clean, degraded, noisy | states, (B, C, H, W) |
| B_t = exp(-theta_bar_t) | mean_weight | share of the clean photo left at time t; B_0 = 1, B_T = final_mean |
| lambda | noise_level | standard deviation of the noise at T |

No network and no random numbers live here.
"""

from __future__ import annotations

import math

import torch

from model.errors import ConfigError


def get_mean_weights(timesteps: int, schedule: str, final_mean: float) -> torch.Tensor:
    """B_t for t = 0..T, float64, falling from 1 to `final_mean`.

    Args:
        timesteps: T.
        schedule: "cosine" (theta rises like a squared sine, slow at both ends) or "linear" (theta rises with t).
        final_mean: B_T, strictly between 0 and 1.
    """
    if not 0 < final_mean < 1 or timesteps < 1:
        raise ConfigError(
            f"got final_mean {final_mean} and timesteps {timesteps}, expected 0 < final_mean < 1 and at least 1 step"
        )
    time = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    if schedule == "cosine":
        # integral of sin^2(pi t / 2), scaled to reach 1
        area = time - torch.sin(math.pi * time) / math.pi
    elif schedule == "linear":
        area = time**2
    else:
        raise ConfigError(f"schedule {schedule!r}: expected 'cosine' or 'linear'")
    return torch.exp(math.log(final_mean) * area)


def get_marginal(mean_weight: torch.Tensor, noise_level: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight of (x_0 - mu) and standard deviation of x_t given x_0: x_t = mu + weight (x_0 - mu) + std eps.

    Args:
        mean_weight: B_t, any shape.
        noise_level: lambda in image units (0..1).
    """
    return mean_weight, noise_level * (1 - mean_weight**2).clamp(min=0).sqrt()


def get_jump(
    from_weight: torch.Tensor, to_weight: torch.Tensor, noise_level: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coefficients of the jump t -> s < t given the estimate of x_0.

    mean = mu + c_state (x_t - mu) + c_clean (x0_hat - mu), standard deviation std.

    Args:
        from_weight: B_t, any shape, below 1.
        to_weight: B_s, same shape, above B_t.
        noise_level: lambda in image units.

    Returns:
        c_state, c_clean, std, each of the shape given.
    """
    ratio = from_weight / to_weight
    denominator = 1 - from_weight**2
    c_state = ratio * (1 - to_weight**2) / denominator
    c_clean = to_weight * (1 - ratio**2) / denominator
    variance = noise_level**2 * (1 - ratio**2) * (1 - to_weight**2) / denominator
    return c_state, c_clean, variance.clamp(min=0).sqrt()


def get_timesteps(timesteps: int, steps: int) -> list[int]:
    """The inference grid: `steps` times from T downwards, evenly spaced; the jump after the last one ends at 0."""
    if not 1 <= steps <= timesteps:
        raise ConfigError(f"got {steps} steps, expected 1 to {timesteps}")
    return [round(timesteps * (steps - index) / steps) for index in range(steps)]
