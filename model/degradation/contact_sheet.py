"""One picture of all ten kinds at three severities: what the documentation shows and what a reviewer looks at."""

from __future__ import annotations

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from model.degradation.kinds import KINDS
from model.degradation.synthesis import degrade

SEVERITIES = (0.25, 0.5, 0.75)
_CELL_PX, _GAP_PX, _LABEL_PX = 232, 4, 22
# Two kinds side by side, so that the sheet is about as wide as a page.
_KINDS_PER_ROW = 2


def contact_sheet(photo: Tensor, *, seed: int) -> Image.Image:
    """Return the sheet of one photo's ten kinds of damage.

    Args:
        photo: (1,3,H,W) RGB in [0,1]; its middle square is used.
        seed: Of the damage; the same for all severities of a kind, so that only the strength differs.
    """
    side = min(photo.shape[-2:])
    top, left = ((length - side) // 2 for length in photo.shape[-2:])
    square = photo[..., top : top + side, left : left + side].float()
    cell = F.interpolate(square, (_CELL_PX, _CELL_PX), mode="bicubic", antialias=True).clamp(0.0, 1.0)
    columns = _KINDS_PER_ROW * len(SEVERITIES)
    rows = -(-len(KINDS) // _KINDS_PER_ROW)
    size = (columns * (_CELL_PX + _GAP_PX) - _GAP_PX, rows * (_CELL_PX + _LABEL_PX))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=_LABEL_PX * 0.6)
    for number, kind in enumerate(KINDS):
        for column, severity in enumerate(SEVERITIES):
            generator = torch.Generator().manual_seed(seed)
            damaged = degrade(cell, kind, severity, generator=generator).image
            x = (number % _KINDS_PER_ROW * len(SEVERITIES) + column) * (_CELL_PX + _GAP_PX)
            y = number // _KINDS_PER_ROW * (_CELL_PX + _LABEL_PX)
            draw.text((x + 2, y + 3), f"{kind} {severity:g}", fill="black", font=font)
            sheet.paste(to_picture(damaged), (x, y + _LABEL_PX))
    return sheet


def to_picture(image: Tensor) -> Image.Image:
    """Turn (1,3,H,W) in [0,1] into an 8-bit picture; values outside are clipped."""
    levels = (image[0].float().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())
