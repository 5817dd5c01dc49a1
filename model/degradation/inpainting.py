"""Holes: parts of the picture that are gone, and the flat colour somebody filled them with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.degradation.draws import Draws, per_sample
from model.degradation.fields import coordinates

# Share of the picture that is missing, linear from severity 0.05 (the least that training uses) to 1.
COVER_AT_LEAST = 0.03
COVER_AT_FULL_SEVERITY = 0.5
_LEAST_SEVERITY = 0.05
# White, black, mid-gray, any colour. DA-CLIP and most editors fill with white.
_FILL_SHARES = (0.7, 0.1, 0.1, 0.1)
_STROKES, _STROKE_STEPS, _SHAPES = 4, 6, 6
# Outlines are smooth; beyond this size they are computed small and enlarged before they are cut.
_FIELD_PX = 160


def cover(severity: Tensor) -> Tensor:
    """Return the share of pixels that is missing at each severity."""
    slope = (COVER_AT_FULL_SEVERITY - COVER_AT_LEAST) / (1.0 - _LEAST_SEVERITY)
    linear = COVER_AT_LEAST + slope * (severity - _LEAST_SEVERITY)
    return torch.where(severity < _LEAST_SEVERITY, severity / _LEAST_SEVERITY * COVER_AT_LEAST, linear)


def punch_holes(image: Tensor, severity: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Return the picture with flat holes, and the mask (B,1,H,W) of them (1 = missing)."""
    mask = hole_mask(severity, draws, *image.shape[-2:])
    flat = torch.tensor([1.0, 0.0, 0.5], device=image.device)[:, None].expand(3, 3)
    any_colour = (draws.uniform(0.0, 1.0, 3) * 255.0).round() / 255.0
    fills = torch.cat((flat.expand(draws.batch, 3, 3), any_colour[:, None]), 1)
    fill = fills[torch.arange(draws.batch, device=image.device), draws.choice(_FILL_SHARES)]
    return torch.where(mask > 0.0, per_sample(fill, image), image), mask


def hole_mask(severity: Tensor, draws: Draws, height: int, width: int) -> Tensor:
    """Return (B,1,H,W) of 0 and 1 with exactly the share of missing pixels that the severity asks for (to 1 %).

    Free-form strokes, rectangles and ellipses are seeds that all grow by the same distance until they cover enough.
    So a lower severity's holes lie inside a higher one's.
    """
    shrink = max(1.0, min(height, width) / _FIELD_PX)
    small = (max(1, round(height / shrink)), max(1, round(width / shrink)))
    distance = _distance_to_seeds(draws, *small)
    distance = F.interpolate(distance, (height, width), mode="bilinear", align_corners=False)
    # Thresholds from every 3rd pixel of every 3rd line are good to 1 % and nine times cheaper.
    sample = distance[..., ::3, ::3].flatten(1).sort(1).values
    last = sample.shape[1] - 1
    at = (cover(severity) * last).round().long().clamp(0, last)
    threshold = sample.gather(1, at[:, None])
    mask = (distance <= per_sample(threshold[:, 0], distance)).float()
    return mask * per_sample(severity > 0.0, mask)


def _distance_to_seeds(draws: Draws, height: int, width: int) -> Tensor:
    """Return (B,1,h,w): distance to the nearest seed, 1 = half the shorter side; seeds themselves are negative."""
    y, x = coordinates(height, width, draws.device)
    tall, wide = (side / min(height, width) for side in (height, width))
    nearest = torch.full((draws.batch, height, width), 10.0, device=draws.device)
    # Not every picture has every shape: absent ones are moved far away. The first stroke is always there.
    gone = 20.0 * (draws.uniform(0.0, 1.0, _STROKES + _SHAPES) > draws.uniform(0.15, 0.9, 1)).float()
    gone[:, 0] = 0.0
    # A hand keeps its direction for a while: the turn from one step to the next is limited.
    turns = torch.cat((draws.angle(_STROKES, 1), draws.normal(_STROKES, _STROKE_STEPS - 1) * 0.8), 2).cumsum(2)
    length = draws.uniform(0.08, 0.4, _STROKES, 1)
    steps = torch.stack((turns.sin() * length, turns.cos() * length), 3)
    pens = draws.uniform(0.0, 0.06, _STROKES)
    for stroke in range(_STROKES):
        start = (draws.uniform(-0.9, 0.9, 1) * tall, draws.uniform(-0.9, 0.9, 1) * wide)
        y0, x0 = (value[..., None] for value in start)
        for point in range(_STROKE_STEPS):
            dy, dx = (steps[:, stroke, point, axis, None, None] for axis in (0, 1))
            along = ((y - y0) * dy + (x - x0) * dx) / (dy * dy + dx * dx + 1e-6)
            along = along.clamp(0.0, 1.0)
            distance = ((y - y0 - along * dy).square() + (x - x0 - along * dx).square()).sqrt()
            nearest = torch.minimum(nearest, distance - (pens - gone[:, :_STROKES])[:, stroke, None, None])
            y0, x0 = y0 + dy, x0 + dx
    for shape in range(_SHAPES):
        cy, cx = (draws.uniform(-1.0, 1.0)[:, None, None] * side for side in (tall, wide))
        half = draws.uniform(0.02, 0.35, 2)
        away_y = (y - cy).abs() / (half[:, 0, None, None] + 0.15)
        away_x = (x - cx).abs() / (half[:, 1, None, None] + 0.15)
        round_one = (away_y.square() + away_x.square()).sqrt()
        square_one = torch.maximum(away_y, away_x)
        distance = torch.where(draws.chance(0.5)[:, None, None], round_one, square_one) * 0.3
        nearest = torch.minimum(nearest, distance - 0.05 + gone[:, _STROKES + shape, None, None])
    return nearest[:, None]
