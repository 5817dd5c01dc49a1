"""Do tile borders show? Flat skies larger than a tile, and the gradient across borders against elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from model.evaluate.samples import Sample
from model.pipeline import Restorer
from model.tiling import TileGrid

SKIES = 3
NOISE_SIGMA = 10.0
_TOP, _BOTTOM = (0.36, 0.55, 0.84), (0.70, 0.82, 0.94)  # a clear sky, from above to near the horizon


def sky_side(restorer: Restorer) -> int:
    """Side of a square photo that three by three tiles cover with exactly the least overlap, px."""
    return 3 * restorer.tile_px - 2 * restorer.config.overlap_px


def sky(height: int, width: int) -> torch.Tensor:
    """A cloudless sky (1, 3, height, width): a vertical ramp of colour and nothing else."""
    share = torch.linspace(0, 1, height)[None, None, :, None]
    top, bottom = (torch.tensor(colour)[None, :, None, None] for colour in (_TOP, _BOTTOM))
    return (top + (bottom - top) * share).expand(1, 3, height, width).contiguous()


def sky_samples(restorer: Restorer, count: int = SKIES) -> Iterator[Sample]:
    """Noisy skies, stored as 8-bit files would."""
    side = sky_side(restorer)
    for index in range(count):
        noise = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(3000 + index))
        clean = sky(side, side)
        damaged = ((clean + NOISE_SIGMA / 255 * noise).clamp(0, 1) * 255).round() / 255
        yield Sample(damaged, clean, None, index)


def find_grid(restorer: Restorer) -> TileGrid:
    """The tiles of these skies, as the restorer itself lays them."""
    side = sky_side(restorer)
    image = sky(side, side)
    return restorer.begin(image, restorer.analyze(image, caption="a blue sky"), steps=1).grid


def seam_excess(image: torch.Tensor, grid: TileGrid) -> float:
    """How much larger the mean gradient is across tile borders than elsewhere, in percent.

    The gradient is the mean absolute difference of neighbouring pixels, over RGB. Across borders: between the last
    pixel outside a tile and the first inside, on all four sides of all tiles, where the photo goes on. 0 = borders look
    like any other place; noise alone gives a percent or so to either side.

    Args:
        image: (1, 3, H, W), unrounded.
        grid: Its tiles.
    """
    across, elsewhere = [], []
    for axis, starts in ((2, grid.tops), (3, grid.lefts)):
        length = image.shape[axis]
        gradient = image.double().diff(dim=axis).abs().transpose(axis, 3).flatten(0, 2)  # (..., length - 1)
        borders = {edge for start in starts for edge in (start, start + grid.tile_px) if 0 < edge < length}
        at_border = torch.zeros(length - 1, dtype=torch.bool)
        at_border[[edge - 1 for edge in borders]] = True
        across.append(gradient[:, at_border].flatten())
        elsewhere.append(gradient[:, ~at_border].flatten())
    if not torch.cat(across).numel():
        raise ValueError(f"got a photo of {tuple(image.shape[2:])} px in one tile, expected several tiles")
    usual = float(torch.cat(elsewhere).mean())
    return 100 * (float(torch.cat(across).mean()) / usual - 1) if usual > 0 else 0.0
