"""One photo, damaged on purpose in one way, always the same for the same place in a list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from model.config import JPEG_BLOCK
from model.degradation.synthesis import degrade
from model.evaluate.samples import read_photo
from model.evaluate.scores import psnr

FIRST_SEED = 1000
"""Seed of the damage of the first photo, as in the suite "ten"."""


@dataclass(frozen=True)
class Damaged:
    """A damaged photo and the truth about it.

    Attributes:
        clean: (1, 3, H, W) in [0, 1].
        image: The damaged photo as an 8-bit file would hold it, same shape.
        mask: Where the holes are, (1, 1, H, W); None unless the kind is "inpainting".
    """

    clean: torch.Tensor
    image: torch.Tensor
    mask: torch.Tensor | None

    def score(self, restored: torch.Tensor) -> float:
        """PSNR in dB of a picture, stored with 8 bits, against the clean photo; inside the holes if there are any."""
        return psnr((restored.clamp(0, 1) * 255).round() / 255, self.clean, self.mask)


def damage_photo(path: Path, kind: str, severity: float, index: int, *, crop_px: int | None = None) -> Damaged:
    """Read a photo and damage it.

    Args:
        path: Of the clean photo.
        kind: One of `KINDS`.
        severity: 0..1; 0 leaves the photo as it is.
        index: Place of the photo in the list, seeds the damage.
        crop_px: Take the middle square of this side where the photo is larger; None takes the whole photo.
    """
    clean = read_photo(path)
    if crop_px is not None:
        height, width = (min(side, crop_px) for side in clean.shape[-2:])
        # on the block grid of the photo's own file
        top = (clean.shape[-2] - height) // 2 // JPEG_BLOCK * JPEG_BLOCK
        left = (clean.shape[-1] - width) // 2 // JPEG_BLOCK * JPEG_BLOCK
        clean = clean[..., top : top + height, left : left + width].contiguous()
    result = degrade(clean, kind, severity, generator=torch.Generator().manual_seed(FIRST_SEED + index))
    stored = (result.image.clamp(0, 1) * 255).round() / 255
    return Damaged(clean, stored, result.mask if kind == "inpainting" and severity > 0 else None)
