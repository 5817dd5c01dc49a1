"""Too little light: whole photos taken in the dark, and cast shadows."""

from __future__ import annotations

import torch
from torch import Tensor

from model.degradation.draws import Draws, per_sample
from model.degradation.fields import coordinates, smooth_field, smoothstep


def low_light(image: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Darken by a gamma curve and a shorter exposure, tint, and add the noise of an amplified sensor.

    At severity 1 the gamma is 2..4 and the exposure 25..55 % of the light, which together leave a mid-gray at
    2..14 % of full scale, as in the LOL pairs.
    """
    strength = per_sample(severity, image)
    gamma = 1.0 + strength * per_sample(draws.uniform(1.0, 3.0), image)
    exposure = 1.0 - strength * per_sample(draws.uniform(0.45, 0.75), image)
    tint = 1.0 + strength * per_sample(draws.normal(3) * 0.06, image)
    dark = image.clamp(1e-4, 1.0).pow(gamma) * exposure * tint
    # Shot noise grows with the light, read noise does not; both with the amplification the camera chose.
    shot = per_sample(draws.uniform(0.0, 0.002), image) * strength
    read = per_sample(draws.uniform(0.0, 0.012), image) * strength
    spread = (dark.clamp(0.0, 1.0) * shot + read.square()).sqrt()
    return (dark + draws.normal(*image.shape[1:]) * spread).clamp(0.0, 1.0)


def shadow(image: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Darken part of the picture behind a soft edge.

    The shape is a corner of straight edges (a building) or a cloud (foliage). Shade is slightly blue, because it is
    lit by the sky alone. At severity 1 it keeps 10..35 % of the light.
    """
    strength = per_sample(severity, image)
    keep = 1.0 - strength * (0.9 - per_sample(draws.uniform(0.0, 0.25), image))
    blue = per_sample(draws.uniform(-0.02, 0.1), image)
    tint = torch.cat((-blue, torch.zeros_like(blue), blue), 1) * strength
    return image * (1.0 - shadow_mask(draws, *image.shape[-2:]) * (1.0 - keep * (1.0 + tint)))


def shadow_mask(draws: Draws, height: int, width: int) -> Tensor:
    """Return (B,1,H,W), 1 = in the shade, with edges from crisp to very soft."""
    y, x = coordinates(height, width, draws.device)
    clouds = smooth_field(draws, height, width, cells=3, octaves=3) - 0.5
    # Inside of two or three straight edges: the smallest of the signed distances to them.
    edges = torch.full_like(clouds, 10.0)
    for _ in range(3):
        angle, offset = (per_sample(v, clouds) for v in (draws.angle(), draws.uniform(0.0, 0.8)))
        edges = torch.minimum(edges, x * angle.cos() + y * angle.sin() + offset)
    # Straight edges get a little wavy by the clouds; pure clouds have a steeper slope to the same scale.
    straight = edges + clouds * per_sample(draws.uniform(0.0, 0.5), clouds)
    level = per_sample(draws.uniform(-0.12, 0.12), clouds)
    field = torch.where(per_sample(draws.chance(0.55), clouds), straight, (clouds + level) * 2.0)
    softness = per_sample(draws.uniform(0.12, 0.6).square(), clouds)
    return smoothstep(field, -softness, softness)
