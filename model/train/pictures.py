"""Sheets of small pictures, written while a training runs."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torchvision.utils import make_grid


def save_grid(images: torch.Tensor, columns: int, path: Path) -> None:
    """Write images (N, 3, H, W) in [0, 1] as one JPEG sheet with so many columns."""
    sheet = make_grid(images.float().cpu().clamp(0, 1), nrow=columns, padding=2)
    pixels = (sheet.permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(path, quality=88)
