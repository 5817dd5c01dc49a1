"""Arithmetic per megapixel of a restoration, counted once for any number of steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.pipeline import Restorer


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point operations for one photo.

    Attributes:
        stage_one: To look at the photo, caption included.
        step: One denoising step of all its tiles.
        pixels: Of the photo.
    """

    stage_one: int
    step: int
    pixels: int

    def tflop_per_megapixel(self, steps: float) -> float:
        """Of a whole restoration; every step costs the same, so a mean number of steps will do."""
        return (self.stage_one + steps * self.step) / 1e12 / (self.pixels / 1e6)


def count_arithmetic(restorer: Restorer, image: torch.Tensor) -> Arithmetic:
    """Count on one photo (1, 3, H, W) by restoring it in one step.

    Convolutions and matrix products are counted (a multiplication and an addition are two operations); what is done
    outside torch, such as looking for holes, is not.
    """
    with FlopCounterMode(display=False) as looking:
        restorer.analyze(image)
    with FlopCounterMode(display=False) as everything:
        restorer.restore(image, steps=1)
    stage_one = looking.get_total_flops()
    pixels = image.shape[-2] * image.shape[-1]
    return Arithmetic(stage_one, everything.get_total_flops() - stage_one, pixels)
