"""Photos between integer arrays and float tensors, without needless full-size copies.

Knows nothing of jobs or models; a 24-megapixel photo is 288 MB as floats, so every copy saved here counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.images import PixelArray

STRIP_ROWS = 256
"""Rows converted at a time: small enough that the temporaries do not matter."""


def to_tensor(rgb: PixelArray, image: torch.Tensor | None = None) -> torch.Tensor:
    """Turn an (H, W, 3) uint8 or uint16 array into a (1, 3, H, W) float32 tensor in 0..1.

    Args:
        rgb: The array.
        image: Memory of that shape for it; None takes new one.
    """
    height, width, channels = rgb.shape
    if image is None:
        image = torch.empty((1, channels, height, width))
    levels = np.float32(np.iinfo(rgb.dtype).max)
    np.divide(rgb.transpose(2, 0, 1), levels, out=image[0].numpy(), casting="unsafe")
    return image


def to_array(image: torch.Tensor, dtype: np.dtype[Any]) -> PixelArray:
    """Turn a (1, 3, H, W) float tensor in 0..1 into an (H, W, 3) array of `dtype`, rounded to the nearest level."""
    planes = image[0].numpy()
    channels, height, width = planes.shape
    levels = np.float32(np.iinfo(dtype).max)
    pixels = np.empty((height, width, channels), dtype=dtype)
    for top in range(0, height, STRIP_ROWS):
        strip = planes[:, top : top + STRIP_ROWS] * levels
        np.add(strip, np.float32(0.5), out=strip)  # truncation below then rounds to the nearest
        np.clip(strip, 0, levels, out=strip)
        pixels[top : top + STRIP_ROWS] = strip.transpose(1, 2, 0)
    return pixels


def mask_to_tensor(holes: NDArray[np.bool_]) -> torch.Tensor:
    """Turn an (H, W) mask into a (1, 1, H, W) float32 tensor: 1 where pixels are missing, else 0."""
    return torch.from_numpy(holes.astype(np.float32))[None, None]


def sample_small(
    blended: torch.Tensor, weights: tuple[torch.Tensor, torch.Tensor], size: tuple[int, int], longest_px: int
) -> PixelArray:
    """Give a small picture of a photo that is still a sum of weighted tiles, looking at few of its pixels.

    Every pixel of the answer is the mean of four places of its part of the photo: a true mean of 24 megapixels would
    keep the device busy for as long as a step of a small photo.

    Args:
        blended: (3, H, W), sum of weighted tiles with values in 0..1.
        weights: Their sums along the rows (H,) and the columns (W,).
        size: (height, width) of the photo in the upper left corner of it.
        longest_px: Longest side of the answer, if the photo is not smaller.

    Returns:
        (h, w, 3) uint8 on the host.
    """
    scale = min(1.0, longest_px / max(size))
    small = [max(1, round(side * scale)) for side in size]
    rows, columns = (
        ((torch.arange(2 * count) + 0.5) * side / (2 * count)).long() for count, side in zip(small, size, strict=True)
    )
    device = blended.device
    picked = blended.index_select(1, rows.to(device)).index_select(2, columns.to(device)).float().cpu()
    picked = picked / (weights[0][rows][:, None] * weights[1][columns])
    mean = picked.reshape(3, small[0], 2, small[1], 2).mean((2, 4))
    pixels: PixelArray = (mean.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return pixels


def shape_only(pixels: PixelArray) -> PixelArray:
    """Give an array of the same shape and type that holds no memory; every value reads as 0."""
    return np.broadcast_to(np.zeros((), pixels.dtype), pixels.shape)
