"""Whole-photo arithmetic in strips of rows: on a CPU for the cache, on a GPU for few launches and little memory."""

from __future__ import annotations

from collections.abc import Iterable

import torch

_CPU_ROWS = 16  # noise of 24 megapixels in 1.6 s, not 11
_PIXELS = 2**21  # elsewhere: some 200 MB at a time


def strips(photo: torch.Tensor, first: int = 0) -> Iterable[range]:
    """Rows of a photo (3, H, W) from `first` on, in strips that suit its device."""
    height, width = photo.shape[1:]
    rows = _CPU_ROWS if photo.device.type == "cpu" else max(_CPU_ROWS, _PIXELS // width)
    return (range(top, min(top + rows, height)) for top in range(first, height, rows))
