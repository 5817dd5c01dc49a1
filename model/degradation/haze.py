"""Haze by the atmospheric scattering model."""

from __future__ import annotations

from torch import Tensor

from model.degradation.draws import Draws, per_sample
from model.degradation.fields import blend, coordinates, smooth_field

# Optical thickness of the farthest point at severity 1: 8 % of its light arrives, about the thickest haze in which
# a person still recognises a scene.
THICKNESS_AT_FULL_SEVERITY = 2.5


def haze(image: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Mix the picture with airlight: I = J t + A (1 - t), t = exp(-thickness * depth).

    Depth (0.35..1) is a random plane, mostly far at the top and near at the bottom, with clouds on it.
    """
    height, width = image.shape[-2:]
    y, x = coordinates(height, width, image.device)
    tilt = per_sample(draws.normal() * 0.5, image)
    # Between a scene seen from above (no gradient, only clouds) and a road to the horizon.
    gradient = per_sample(draws.uniform(0.0, 1.0), image)
    plane = -(y * tilt.cos() + x * tilt.sin())
    plane = (plane / plane.abs().amax((-2, -1), keepdim=True) + 1.0) * 0.5
    clouds = smooth_field(draws, height, width, cells=2, octaves=3)
    depth = 0.35 + 0.65 * blend(clouds, plane, 0.3 + 0.6 * gradient)
    transmission = (-THICKNESS_AT_FULL_SEVERITY * per_sample(severity, image) * depth).exp()
    air = draws.uniform(0.7, 1.0, 1) + draws.normal(3) * 0.02
    return blend(per_sample(air.clamp(0.0, 1.0), image), image, transmission)
