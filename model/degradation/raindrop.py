"""Drops of water on the window or lens in front of the camera."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.degradation.draws import Draws, per_sample
from model.degradation.fields import blend, scale_unit, smoothstep

# Radii in px at 256 px image size and drops per 1000 px at severity 1: many small drops, few large ones. Two groups,
# because a drop costs as much as the largest of its group.
_GROUPS = ((2.5, 9.0, 1.4), (8.0, 24.0, 0.7))
# Drops are out of focus, so half the resolution is enough for their outline.
_STEP_PX = 2


def raindrop(image: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Put irregular drops over the picture: each shows the scene upside down, small and out of focus.

    Severity raises the number and the size of the drops.
    """
    height, width = image.shape[-2:]
    maps = _drop_maps(image, severity, draws)
    maps = F.interpolate(maps, scale_factor=float(_STEP_PX), mode="bilinear", align_corners=False)
    weight, shift_y, shift_x, glint = maps[..., :height, :width].chunk(4, 1)
    cover = weight.clamp(0.0, 1.0)
    norm = weight.clamp_min(1e-3)
    inside = _refract(image, (shift_y / norm)[:, 0], (shift_x / norm)[:, 0])
    # A drop gathers light from a wide angle: a little brighter or darker than what it hides, paler, with a dark rim
    # where it bends light away and a small bright reflection.
    gain = per_sample(draws.uniform(0.8, 1.25), image)
    pale = per_sample(draws.uniform(0.0, 0.3), image)
    inside = blend(inside * gain, inside.mean((1, 2, 3), keepdim=True) * 1.15, pale)
    rim = 4.0 * cover * (1.0 - cover) * per_sample(draws.uniform(0.0, 0.35), image)
    shine = glint.clamp(0.0, 1.0) * per_sample(draws.uniform(0.1, 0.7), image)
    inside = blend(inside * (1.0 - rim), 1.0, shine)
    opacity = per_sample(draws.uniform(0.75, 1.0), image)
    return blend(image, inside.clamp(0.0, 1.0), cover * opacity)


def _drop_maps(image: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Return (B,4,h,w) at half size: cover, cover times the shift to the source (y, x in px), reflections."""
    unit = scale_unit(*image.shape[-2:])
    height, width = (-(-side // _STEP_PX) for side in image.shape[-2:])
    kilopixels = image.shape[-2] * image.shape[-1] / 1000.0 / unit**2
    density = draws.uniform(0.35, 1.0)[:, None] * severity[:, None]
    swell = 0.55 + 0.45 * severity[:, None]
    zoom = draws.uniform(2.0, 4.0)[:, None, None, None] * _STEP_PX
    soft = draws.uniform(0.12, 0.4)[:, None, None, None]
    canvas = torch.zeros(draws.batch, 4, height * width, device=image.device)
    for smallest, largest, per_kilopixel in _GROUPS:
        count = max(2, round(per_kilopixel * kilopixels))
        span = draws.uniform(0.0, 1.0, count).square() * (largest - smallest)
        radius = ((smallest + span) * swell * (unit / _STEP_PX))[..., None, None]
        # The last drop to appear fades in, so that the damage is continuous in severity.
        present = (density * count - torch.arange(count, device=image.device)).clamp(0.0, 1.0)[..., None, None]
        centre_y, centre_x = draws.uniform(0.0, float(height), count), draws.uniform(0.0, float(width), count)
        reach = int(largest * 1.5 * unit / _STEP_PX) + 1
        taps = torch.arange(-reach, reach + 1, device=image.device)
        row, column = centre_y.long()[..., None] + taps, centre_x.long()[..., None] + taps
        away_y, away_x = (row - centre_y[..., None])[..., :, None], (column - centre_x[..., None])[..., None, :]
        u, v = away_x / radius, away_y / (radius * draws.uniform(0.9, 1.45, count)[..., None, None])
        cover = (1.0 - smoothstep(_outline(u, v, draws), 1.0 - soft, 1.0 + soft)) * present
        glint = (-((u + 0.3).square() + (v + 0.4).square()) / 0.05).exp() * cover
        values = torch.stack((cover, -cover * away_y * zoom, -cover * away_x * zoom, glint), 1)
        inside = ((row >= 0) & (row < height))[..., :, None] & ((column >= 0) & (column < width))[..., None, :]
        place = row.clamp(0, height - 1)[..., :, None] * width + column.clamp(0, width - 1)[..., None, :]
        place = place.flatten(1)[:, None].expand(-1, 4, -1)
        canvas.scatter_add_(2, place, (values * inside[:, None]).flatten(2))
    return canvas.view(draws.batch, 4, height, width)


def _outline(u: Tensor, v: Tensor, draws: Draws) -> Tensor:
    """Return the distance from the centre in units of an irregular radius: 1 on the outline.

    Polar waves without an arc tangent: r cos 2a = (u^2 - v^2) / r and r cos 3a = (u^3 - 3 u v^2) / r^2.
    """
    square = u * u + v * v
    rho = square.sqrt()
    two, three = (draws.normal(u.shape[1])[..., None, None] * scale for scale in (0.10, 0.06))
    return rho + two * (u * u - v * v) / (rho + 0.1) + three * u * (u * u - 3.0 * v * v) / (square + 0.1)


def _refract(image: Tensor, shift_y: Tensor, shift_x: Tensor) -> Tensor:
    """Sample the picture, four times smaller and so out of focus, at every pixel plus its (B,H,W) shift in px."""
    height, width = image.shape[-2:]
    small = F.interpolate(image, (max(1, height // 4), max(1, width // 4)), mode="area")
    y = (torch.arange(height, device=image.device) * 2.0 + 1.0)[:, None] / height - 1.0
    x = (torch.arange(width, device=image.device) * 2.0 + 1.0)[None, :] / width - 1.0
    grid = torch.stack((x + shift_x * (2.0 / width), y + shift_y * (2.0 / height)), -1)
    return F.grid_sample(small, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
