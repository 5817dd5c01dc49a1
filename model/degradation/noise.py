"""Sensor noise: exact Gaussian noise for measurements, and the mixture of noises that training sees."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.degradation.draws import Draws, per_sample

# Severity is linear in the standard deviation, so that the usual test levels 25 and 50 sit at 1/3 and 2/3.
SIGMA_AT_FULL_SEVERITY = 75.0
# Colour Gaussian noise is what the benchmarks measure; the others are what cameras also do.
_GAUSSIAN, _GRAY, _SHOT, _COARSE = range(4)
_SHARES = (0.79, 0.07, 0.07, 0.07)


def add_gaussian_noise(
    image: Tensor, sigma: Tensor | float, generator: torch.Generator | None = None, clip: bool = False
) -> Tensor:
    """Add independent Gaussian noise to every channel of every pixel, as denoising papers do.

    Args:
        image: (B,3,H,W) in [0,1].
        sigma: Standard deviation on the 0..255 scale, one number or (B,).
        generator: CPU generator; None = torch's default one.
        clip: True = clamp to [0,1] afterwards. The literature does not clip.
    """
    draws = Draws(image.shape[0], generator, image.device)
    spread = torch.as_tensor(sigma, dtype=image.dtype, device=image.device).expand(image.shape[0]) / 255.0
    noisy = image + draws.normal(*image.shape[1:]).to(image.dtype) * per_sample(spread, image)
    return noisy.clamp(0.0, 1.0) if clip else noisy


def noise(image: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Add noise of standard deviation 75/255 times severity; the result may leave [0,1].

    Mostly colour Gaussian noise; sometimes gray, brighter in highlights (shot noise) or coarse-grained (after an
    in-camera resize), all with the same mean power.
    """
    spread = per_sample(severity * (SIGMA_AT_FULL_SEVERITY / 255.0), image)
    field = draws.normal(*image.shape[1:])
    variant = draws.choice(_SHARES)
    for which, change in ((_GRAY, _gray), (_SHOT, _shot), (_COARSE, _coarse)):
        index = (variant == which).nonzero().flatten()
        if index.numel():
            field[index] = change(field[index], image[index])
    return image + field * spread


def _gray(field: Tensor, image: Tensor) -> Tensor:
    return field[:, :1].expand_as(field)


def _shot(field: Tensor, image: Tensor) -> Tensor:
    """Scale by the square root of brightness, keeping the mean power of each sample."""
    gain = image.clamp(0.02, 1.0).sqrt()
    return field * gain / gain.square().mean((1, 2, 3), keepdim=True).sqrt()


def _coarse(field: Tensor, image: Tensor) -> Tensor:
    """Blur the noise a little (3x3 tent) and bring its power back: grain of about two pixels."""
    tent = torch.tensor([0.25, 0.5, 0.25], device=field.device)
    kernel = torch.outer(tent, tent).expand(field.shape[1], 1, 3, 3)
    return F.conv2d(field, kernel, padding=1, groups=field.shape[1]) / kernel[0].square().sum().sqrt()
