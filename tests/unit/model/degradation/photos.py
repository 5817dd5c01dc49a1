"""Small pictures for the tests: smooth shapes with some texture, made from a seed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(batch: int, height: int = 64, width: int = 72, seed: int = 0) -> Tensor:
    """Return (B,3,H,W) in 0.05..0.95 with large shapes, edges and a fine pattern."""
    generator = seeded(seed)
    coarse = F.interpolate(torch.rand(batch, 3, 5, 5, generator=generator), (height, width), mode="bicubic")
    fine = F.interpolate(torch.rand(batch, 3, 24, 24, generator=generator), (height, width), mode="nearest")
    return (0.75 * coarse + 0.25 * fine).clamp(0.05, 0.95)


def psnr(damaged: Tensor, clean: Tensor) -> Tensor:
    """Return (B,) decibels of what an 8-bit export would hold."""
    error = (damaged.clamp(0.0, 1.0) - clean).square().mean((1, 2, 3))
    return -10.0 * error.clamp_min(1e-12).log10()
