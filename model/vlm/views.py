"""The square views a photo is looked at through: the whole photo shrunk, and crops at native resolution.

A photo shrunk to the image tower's size keeps its content, but noise, JPEG blocks and slight blur vanish in it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from model.checks import check_image
from model.config import JPEG_BLOCK


def photo_views(image: torch.Tensor, size: int, native: int) -> torch.Tensor:
    """Views of B photos of one size: (B, 1 + native, 3, size, size) in [0, 1].

    The first is the whole photo, resized without regard to its shape; the others are crops at native resolution, at
    places that depend on the photo's size only. Sides shorter than `size` are mirrored.

    Args:
        image: (B, 3, H, W) RGB; values outside [0, 1] are clamped.
        size: Side of a view, px.
        native: Number of native crops, 0 or more.
    """
    check_image(image)
    image = image.clamp(0, 1)
    whole = F.interpolate(image, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    padded = mirror_to(image, size, size)
    height, width = padded.shape[-2:]
    views = [whole]
    # JPEG blocks stay on their grid when crops start at multiples of the block size
    for row, column in _places(native):
        top = int(row * (height - size)) // JPEG_BLOCK * JPEG_BLOCK
        left = int(column * (width - size)) // JPEG_BLOCK * JPEG_BLOCK
        views.append(padded[..., top : top + size, left : left + size])
    return torch.stack(views, 1)


def mirror_to(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Mirror (..., H, W) at the bottom and right until it is at least height x width; a side of 1 px repeats."""
    rows = _mirror_index(image.shape[-2], max(height, image.shape[-2]), image.device)
    columns = _mirror_index(image.shape[-1], max(width, image.shape[-1]), image.device)
    if len(rows) == image.shape[-2] and len(columns) == image.shape[-1]:
        return image
    return image.index_select(-2, rows).index_select(-1, columns)


def _mirror_index(length: int, wanted: int, device: torch.device) -> torch.Tensor:
    if length == 1:
        return torch.zeros(wanted, dtype=torch.long, device=device)
    period = 2 * (length - 1)
    index = torch.arange(wanted, device=device) % period
    return torch.where(index < length, index, period - index)


def _places(count: int) -> list[tuple[float, float]]:
    """Relative places of crops, spread by a low-discrepancy sequence that starts in the middle."""
    return [((0.5 + index * 0.7548776662) % 1.0, (0.5 + index * 0.5698402910) % 1.0) for index in range(count)]
