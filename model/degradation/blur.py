"""Motion, defocus and Gaussian blur with one random kernel per sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.degradation.draws import Draws, per_sample
from model.degradation.fields import convolve_valid, path_kernels, reflect_pad

# The three kinds of kernel share one measure, their root-mean-square radius: 7.2 px at severity 1 is a motion of
# 25 px, a disc of 20 px or a Gaussian of sigma 5.1 px. Beyond that small networks only guess.
RMS_RADIUS_PX = 7.2
KERNEL_PX = 31
_PATH_POINTS = 48
# Hand-held motion is what people complain of most.
_SHARES = (0.55, 0.25, 0.2)


def blur(image: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Blur by a random kernel; half of the samples in (roughly) linear light, as an exposure does."""
    kernels = random_kernels(severity * RMS_RADIUS_PX, draws)
    pad = KERNEL_PX // 2
    linear = per_sample(draws.chance(0.5), image)
    light = torch.where(linear, image * image.abs(), image)
    blurred = convolve_valid(reflect_pad(light, pad, pad, pad, pad), kernels)
    return torch.where(linear, blurred.sign() * blurred.abs().sqrt(), blurred)


def random_kernels(rms: Tensor, draws: Draws) -> Tensor:
    """Return (B,31,31) kernels of sum 1 and of the given root-mean-square radii (B,) in pixels."""
    motion = motion_kernels(rms * math.sqrt(12.0), draws)
    taps = torch.arange(KERNEL_PX, device=rms.device) - KERNEL_PX // 2.0
    # A lens is rarely perfectly round: up to 15 % longer one way than the other.
    squeeze = draws.uniform(0.87, 1.15)[:, None, None]
    distance = ((taps[:, None] * squeeze).square() + (taps[None, :] / squeeze).square()).sqrt()
    disc = (rms[:, None, None] * math.sqrt(2.0) + 0.5 - distance).clamp(0.0, 1.0)
    sigma = (rms[:, None, None] / math.sqrt(2.0)).clamp_min(0.05)
    gaussian = (-0.5 * (distance / sigma).square()).exp()
    kernels = torch.stack((motion, disc, gaussian), 1)[torch.arange(len(rms), device=rms.device), draws.choice(_SHARES)]
    return kernels / kernels.sum((1, 2), keepdim=True)


def motion_kernels(length: Tensor, draws: Draws) -> Tensor:
    """Return kernels of a slightly bent stroke with uneven speed, centred so that the picture does not shift.

    Args:
        length: (B,) pixels; 0 = a single point.
        draws: Source of randomness.
    """
    along = torch.linspace(-0.5, 0.5, _PATH_POINTS, device=length.device)[None]
    bend, wobble = draws.uniform(-0.5, 0.5, 1), draws.uniform(-0.25, 0.25, 1)
    across = bend * (along.square() - 1.0 / 12.0) + wobble * (2.0 * torch.pi * along).sin() * 0.5
    speed, phase = draws.uniform(0.0, 0.8, 1), draws.angle(1)
    weight = 1.0 + speed * (draws.uniform(0.5, 2.0, 1) * 2.0 * torch.pi * along + phase).cos()
    weight = weight / weight.sum(1, keepdim=True)
    along = along - (weight * along).sum(1, keepdim=True)
    across = across - (weight * across).sum(1, keepdim=True)
    angle = draws.angle(1)
    x = (along * angle.cos() - across * angle.sin()) * length[:, None]
    y = (along * angle.sin() + across * angle.cos()) * length[:, None]
    return path_kernels(y, x, weight, size=KERNEL_PX)
