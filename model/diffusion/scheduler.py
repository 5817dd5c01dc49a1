"""The bridge as a diffusers scheduler that takes one timestep per sample.

A batch holds jobs at different steps, so nothing here depends on a single current step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput

from model.diffusion.bridge import get_jump, get_marginal, get_mean_weights, get_timesteps
from model.errors import ShapeError


@dataclass
class MeanRevertingOutput(BaseOutput):
    """States after a step: `prev_sample` (B, C, H, W)."""

    prev_sample: torch.Tensor


class MeanRevertingScheduler(SchedulerMixin, ConfigMixin):
    """IR-SDE bridge with x_0 prediction and jumps between any two times.

    Args:
        num_train_timesteps: T.
        schedule: "cosine" or "linear".
        final_mean: B_T.
        noise_level: lambda in 1/255.
        stochastic: Keep the noise of a jump; False takes its mean, which is deterministic.
    """

    order = 1

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 100,
        schedule: str = "cosine",
        final_mean: float = 0.005,
        noise_level: float = 10.0,
        stochastic: bool = False,
    ) -> None:
        self.mean_weights = get_mean_weights(num_train_timesteps, schedule, final_mean)
        self.noise_level = noise_level / 255
        self.stochastic = stochastic
        self._jumps: dict[tuple[int, int], tuple[float, float, float]] = {}
        self.num_inference_steps: int | None = None
        self.timesteps = torch.arange(num_train_timesteps, 0, -1)

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Choose the inference grid: `self.timesteps` runs from T downwards, the last jump ends at 0."""
        self.num_inference_steps = num_inference_steps
        self.timesteps = torch.tensor(
            get_timesteps(int(self.config.num_train_timesteps), num_inference_steps), device=device
        )

    def scale_model_input(self, sample: torch.Tensor, timestep: Any = None) -> torch.Tensor:
        """The network takes states as they are (part of the diffusers interface)."""
        return sample

    def add_noise(
        self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, degraded: torch.Tensor
    ) -> torch.Tensor:
        """x_t of clean photos: mu + B_t (x_0 - mu) + lambda sqrt(1 - B_t^2) eps.

        Args:
            original_samples: x_0 (B, C, H, W).
            noise: eps, same shape.
            timesteps: (B,) integers 0..T, one per sample.
            degraded: mu, same shape.
        """
        weight, std = get_marginal(self._weights(timesteps, original_samples), self.noise_level)
        return degraded + weight * (original_samples - degraded) + std * noise

    def step(
        self,
        model_output: torch.Tensor,
        timestep: torch.Tensor | int,
        sample: torch.Tensor,
        degraded: torch.Tensor,
        previous_timestep: torch.Tensor | int | None = None,
        noise: torch.Tensor | None = None,
        return_dict: bool = True,
    ) -> MeanRevertingOutput | tuple[torch.Tensor]:
        """Jump every sample from its own time to its own earlier time.

        Args:
            model_output: x0_hat (B, C, H, W).
            timestep: t, (B,) or one integer for all.
            sample: x_t (B, C, H, W).
            degraded: mu (B, C, H, W).
            previous_timestep: s < t, (B,) or an integer; None takes the next time of the grid.
            noise: eps of the jump; used when the scheduler is stochastic, ignored otherwise.
            return_dict: False returns a tuple, as diffusers' schedulers do.

        Raises:
            ShapeError: A sample does not go backwards in time or leaves the bridge, or a stochastic step came without
                noise.
        """
        c_state, c_clean, std = self._jump(timestep, previous_timestep, sample)
        state = degraded + c_state * (sample - degraded) + c_clean * (model_output - degraded)
        if self.stochastic:
            if noise is None:
                raise ShapeError("a stochastic step needs noise of the sample's shape (see model.diffusion.noise)")
            state = state + std * noise
        return MeanRevertingOutput(prev_sample=state) if return_dict else (state,)

    def _jump(
        self, timestep: torch.Tensor | int, previous_timestep: torch.Tensor | int | None, sample: torch.Tensor
    ) -> tuple[torch.Tensor | float, torch.Tensor | float, torch.Tensor | float]:
        """Coefficients as tensors that fit the sample, or as numbers where all samples make the same jump."""
        if not isinstance(timestep, int) or not isinstance(previous_timestep, int):
            return self._coefficients(timestep, previous_timestep, sample)
        known = self._jumps.get((timestep, previous_timestep))
        if known is None:
            c_state, c_clean, std = self._coefficients(timestep, previous_timestep, torch.empty(1))
            # numbers reach a device with the launch, where tensors would be copied there strip by strip
            known = self._jumps[timestep, previous_timestep] = float(c_state), float(c_clean), float(std)
        return known

    def _coefficients(
        self, timestep: torch.Tensor | int, previous_timestep: torch.Tensor | int | None, like: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        t = self._times(timestep, like)
        s = self._next_times(t) if previous_timestep is None else self._times(previous_timestep, like)
        if not bool(((s < t) & (s >= 0) & (t < len(self.mean_weights))).all()):
            raise ShapeError(
                f"timesteps {t.tolist()} -> {s.tolist()}: every sample must go to an earlier time, "
                f"within 0..{len(self.mean_weights) - 1}"
            )
        return get_jump(self._weights(t, like), self._weights(s, like), self.noise_level)

    def _times(self, timestep: torch.Tensor | int, like: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(timestep, dtype=torch.long).reshape(-1).expand(like.shape[0])

    def _weights(self, times: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        weights = self.mean_weights.to(times.device)[times]
        return weights.to(like.device, torch.float32).view(-1, *([1] * (like.ndim - 1)))

    def _next_times(self, times: torch.Tensor) -> torch.Tensor:
        grid = [*self.timesteps.tolist(), 0]
        # a time with none before it stays where it is, and `step` refuses it
        return torch.tensor([max((value for value in grid if value < int(time)), default=int(time)) for time in times])
