"""Two figures of a photo that need no clean one beside it: how blurred it is, and how noisy.

Neither is a judgement of quality: blur takes noise for sharpness, noise takes fine texture for noise. Read them side by
side. Both are sums over pixels, so they are taken strip by strip: 24 megapixels need no copies of their size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

_LUMINANCE = (0.2125, 0.7154, 0.0721)  # ITU-R BT.709
_BLUR_PX = 11  # window of the second blur, as in the paper
_STRIP_ROWS = 64  # of 6000 px they stay in the cache
_MARGIN_ROWS = _BLUR_PX // 2 + 2  # what a row's figures may look at above and below it
_FLAT = 1e-4


def estimate_noise(image: torch.Tensor) -> float:
    """Standard deviation of the noise in 1/255 (Immerkær 1996): the mean size of a difference that no ramp has.

    Args:
        image: (1, C, H, W) in [0, 1].

    Returns:
        0 or more; 0 for photos with a side below 3 px.
    """
    channels, height, width = image.shape[1:]
    if min(height, width) < 3:
        return 0.0
    total = 0.0
    for top in range(0, height - 2, _STRIP_ROWS):
        strip = image[:, :, top : top + _STRIP_ROWS + 2].float()
        total += float(_bend(_bend(strip, 2), 3).abs().sum(dtype=torch.float64))
    return total / (channels * (height - 2) * (width - 2)) * math.sqrt(math.pi / 2) / 6 * 255


def estimate_blur(image: torch.Tensor) -> float:
    """Perceptual blur (Crété-Roffet et al. 2007): how little of the edges is lost by blurring once more.

    The edges along rows and columns are compared before and after a mean over 11 pixels; the direction that loses less
    counts.

    Args:
        image: (1, 3, H, W) in [0, 1].

    Returns:
        0 = sharp, 1 = as blurred as can be (a flat or tiny photo counts as that).
    """
    height, width = image.shape[2:]
    if min(height, width) < 4 or float(image.std()) < _FLAT:
        return 1.0
    edges, lost = [0.0, 0.0], [0.0, 0.0]
    for strip, rows in _strips(image):
        for axis in (0, 1):
            before = _edges(strip, axis)[:, :, rows, 2:-1]
            after = _edges(_mean_along(strip, axis), axis)[:, :, rows, 2:-1]
            edges[axis] += float(before.sum(dtype=torch.float64))
            lost[axis] += float((before - after).clamp(min=0).sum(dtype=torch.float64))
    kept = [(whole - gone) / whole for whole, gone in zip(edges, lost, strict=True) if whole > 0]
    return max(kept, default=1.0)


def _strips(image: torch.Tensor) -> Iterator[tuple[torch.Tensor, slice]]:
    """Give luminance (1, 1, h, W) strip by strip, with a margin, and which of its rows count."""
    weights = torch.tensor(_LUMINANCE, device=image.device)
    height = image.shape[2]
    for start in range(2, height - 1, _STRIP_ROWS):  # as in the figure's usual form, the outermost rows do not count
        stop = min(start + _STRIP_ROWS, height - 1)
        top = max(0, start - _MARGIN_ROWS)
        part = image[:, :, top : stop + _MARGIN_ROWS].float()
        yield torch.einsum("bchw,c->bhw", part, weights)[:, None], slice(start - top, stop - top)


def _mean_along(luminance: torch.Tensor, axis: int) -> torch.Tensor:
    half, dim = _BLUR_PX // 2, axis + 2
    sides = (0, 0, half, half) if axis == 0 else (half, half, 0, 0)
    ones = F.pad(luminance, sides, mode="replicate")
    twos = _plus(ones, ones, 1, dim)
    fours = _plus(twos, twos, 2, dim)
    eights = _plus(fours, fours, 4, dim)
    return _plus(_plus(eights, twos, 8, dim), ones, 10, dim) / _BLUR_PX


def _edges(luminance: torch.Tensor, axis: int) -> torch.Tensor:
    """Size of Sobel's derivative along one axis, same shape."""
    along, across = axis + 2, 3 - axis
    padded = F.pad(luminance, (1, 1, 1, 1), mode="replicate")
    size = padded.shape[along] - 2
    slope = padded.narrow(along, 2, size) - padded.narrow(along, 0, size)
    pairs = _plus(slope, slope, 1, across)
    return _plus(pairs, pairs, 1, across).abs()


def _plus(first: torch.Tensor, second: torch.Tensor, shift: int, dim: int) -> torch.Tensor:
    """Add to each place what is `shift` places further on, as far as both go."""
    size = second.shape[dim] - shift
    return first.narrow(dim, 0, size) + second.narrow(dim, shift, size)


def _bend(values: torch.Tensor, dim: int) -> torch.Tensor:
    """Second difference along a dimension, which gets shorter by 2."""
    size = values.shape[dim] - 2
    ends = values.narrow(dim, 0, size) + values.narrow(dim, 2, size)
    return ends.sub_(values.narrow(dim, 1, size), alpha=2)
