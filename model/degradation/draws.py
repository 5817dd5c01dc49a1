"""Random parameters for a batch of images: drawn on the CPU, handed over on the device of the images.

Every degradation draws a number of values that depends on the shape of the batch alone, never on the severity. So one
seed means one layout (the same streaks, the same holes), and severity only turns its strength.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.degradation.errors import DegradationError


class Draws:
    """One batch's source of randomness.

    Attributes:
        batch: Number of images; the first dimension of everything drawn.
        device: Where drawn tensors end up.
    """

    def __init__(self, batch: int, generator: torch.Generator | None, device: torch.device) -> None:
        if generator is not None and generator.device.type != "cpu":
            raise DegradationError(
                f"got a generator on {generator.device}, expected one on the CPU: the same seed must give the same "
                "picture on every device; make it with torch.Generator()"
            )
        self.batch = batch
        self.device = device
        self._generator = generator

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return (B, *shape) values spread evenly over low..high."""
        values = torch.rand((self.batch, *shape), generator=self._generator) * (high - low) + low
        return values.to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """Return (B, *shape) values of the standard normal distribution."""
        return torch.randn((self.batch, *shape), generator=self._generator).to(self.device)

    def angle(self, *shape: int) -> Tensor:
        """Return (B, *shape) directions in radians, all equally likely."""
        return self.uniform(0.0, 2.0 * torch.pi, *shape)

    def chance(self, probability: float) -> Tensor:
        """Return (B,) booleans that are true with the given probability."""
        return self.uniform(0.0, 1.0) < probability

    def choice(self, weights: Sequence[float]) -> Tensor:
        """Return (B,) indices into `weights`, each as likely as its weight (weights need not sum to 1)."""
        edges = torch.tensor(weights, device=self.device).cumsum(0)
        return torch.searchsorted(edges / edges[-1], self.uniform(0.0, 1.0), right=True).clamp_max(len(weights) - 1)


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Append dimensions to (B, ...) values, so that they broadcast over an image batch `like` (B,C,H,W)."""
    return values.reshape(*values.shape, *([1] * (like.ndim - values.ndim)))
