"""Falling rain and snow: many small streaks and flakes in layers of different distance."""

from __future__ import annotations

import torch
from torch import Tensor

from model.degradation.draws import Draws, per_sample
from model.degradation.fields import blend, convolve_layers, path_kernels, scale_unit

# Rain, near to far: longest streak in px at 256 px image size, brush sigma in px, streaks per 1000 px at severity 1.
_RAIN_LAYERS = ((44.0, 0.8, 2.2), (26.0, 0.6, 5.0), (14.0, 0.5, 8.0))
# Snow, far to near: flake sigma in px, flakes per 1000 px at severity 1, opacity. Near flakes are out of focus.
_SNOW_LAYERS = ((0.6, 10.0, 0.9), (1.1, 4.0, 0.95), (2.2, 1.1, 0.9), (4.5, 0.16, 0.65))
_PATH_POINTS = 24


def rain(image: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Add streaks of one direction in three depths, and a thin veil of far rain.

    Severity raises the number of streaks, their brightness and the veil.
    """
    unit = scale_unit(*image.shape[-2:])
    # Most rain falls within 35 degrees of the vertical; wind makes the rest.
    slant = draws.normal() * 0.3
    length = draws.uniform(0.5, 1.0) * unit
    density = draws.uniform(0.5, 1.0)
    size = 2 * int(_RAIN_LAYERS[0][0] * unit / 2 + 3) + 1
    kernels, seeds = [], []
    for longest, brush, per_kilopixel in _RAIN_LAYERS:
        along = torch.linspace(-0.5, 0.5, max(_PATH_POINTS, size), device=image.device)[None]
        # Streaks fade in and out: the drop crosses the sharp zone while the shutter is open.
        weight = (1.0 - (2.0 * along).abs().pow(3.0)).expand(len(slant), -1)
        reach = along * (longest * length)[:, None]
        lean = slant[:, None] + draws.normal(1) * 0.03
        spread = brush * unit * draws.uniform(0.8, 1.3)
        kernel = path_kernels(reach * lean.cos(), reach * lean.sin(), weight, size=size, spread=spread)
        kernels.append(kernel / kernel.amax((1, 2), keepdim=True).clamp_min(1e-6))
        seeds.append(_sow(draws, image, size, per_kilopixel / unit**2, severity * density, (0.25, 1.0)))
    streaks = convolve_layers(torch.cat(seeds, 1), torch.stack(kernels, 1))
    gain = per_sample(draws.uniform(0.35, 0.9) * (0.4 + 0.6 * severity), image)
    light = per_sample(draws.uniform(0.75, 1.0, 1) + draws.normal(3) * 0.015, image)
    veil = per_sample(draws.uniform(0.0, 0.3) * severity, image)
    air = per_sample(draws.uniform(0.45, 0.75, 1), image)
    return blend(blend(image, air, veil), light.clamp(0.0, 1.0), (streaks * gain).clamp(0.0, 0.95))


def snow(image: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Add flakes of four sizes, stretched by their fall, and a thin white veil.

    Severity raises the number of flakes and the veil.
    """
    unit = scale_unit(*image.shape[-2:])
    slant = draws.uniform(-0.9, 0.9)
    flake = draws.uniform(0.7, 1.3) * unit
    density = draws.uniform(0.5, 1.0)
    fall = draws.uniform(0.0, 4.0)
    size = 2 * int(_SNOW_LAYERS[-1][0] * 1.3 * unit * 5.0) + 1
    along = torch.linspace(-0.5, 0.5, _PATH_POINTS, device=image.device)[None]
    kernels, seeds = [], []
    for sigma, per_kilopixel, opacity in _SNOW_LAYERS:
        radius = (sigma * flake)[:, None]
        lean = slant[:, None] + draws.normal(1) * 0.15
        # A clump of crystals drawn along its fall, so that near flakes are lumpy and no two pictures' are alike.
        reach = along * fall[:, None]
        y = (reach * lean.cos() + draws.normal(_PATH_POINTS) * 0.5) * radius
        x = (reach * lean.sin() + draws.normal(_PATH_POINTS) * 0.5) * radius
        kernel = path_kernels(y, x, torch.ones_like(y), size=size, spread=0.75 * radius[:, 0])
        # A flake is a body with an edge, not a Gaussian dot.
        kernel = (kernel / kernel.amax((1, 2), keepdim=True) * 1.7 - 0.25).clamp(0.0, 1.0)
        kernels.append(kernel * opacity)
        seeds.append(_sow(draws, image, size, per_kilopixel / unit**2, severity * density, (0.35, 1.0)))
    cover = convolve_layers(torch.cat(seeds, 1), torch.stack(kernels, 1)).clamp(0.0, 0.97)
    light = per_sample(draws.uniform(0.88, 1.0, 1) + draws.normal(3) * 0.01, image).clamp(0.0, 1.0)
    veil = per_sample(draws.uniform(0.0, 0.25) * severity, image)
    return blend(blend(image, light * 0.9, veil), light, cover)


def _sow(
    draws: Draws, image: Tensor, size: int, per_kilopixel: float, share: Tensor, strength: tuple[float, float]
) -> Tensor:
    """Return (B,1,H+size-1,W+size-1): zeros with random points, of which the first `share` (B,) are switched on.

    A higher share keeps the points of a lower one, so the damage only grows with severity.
    """
    height, width = (side + size - 1 for side in image.shape[-2:])
    count = max(1, round(height * width * per_kilopixel / 1000.0))
    places = (draws.uniform(0.0, 1.0, count) * (height * width)).long().clamp_max(height * width - 1)
    values = draws.uniform(*strength, count)
    order = torch.arange(count, device=image.device) / count
    canvas = torch.zeros(draws.batch, height * width, device=image.device)
    canvas.scatter_reduce_(1, places, torch.where(order < share[:, None], values, 0.0), "amax")
    return canvas.view(draws.batch, 1, height, width)
