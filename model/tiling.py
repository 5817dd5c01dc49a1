"""Cutting a photo into tiles of one fixed size and blending what comes back without seams.

Every tile of every job has the same size, so tiles of photos of any size share a batch. Blending happens in every
denoising step, on the estimate of the clean photo, so that tiles cannot drift apart over the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from model.errors import ShapeError


@dataclass(frozen=True)
class TileGrid:
    """Where the tiles of a photo lie: the product of row and column starts.

    Attributes:
        tops: First row of each row of tiles.
        lefts: First column of each column of tiles.
        tile_px: Side of a tile.
    """

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    tile_px: int

    @classmethod
    def cover(cls, height: int, width: int, tile_px: int, overlap_px: int, unit_px: int = 1) -> TileGrid:
        """Fewest evenly spaced tiles that cover (height, width) and overlap by at least `overlap_px`.

        Args:
            height: Of the photo, a multiple of `unit_px`.
            width: Likewise.
            tile_px: Side of a tile, likewise.
            overlap_px: Least overlap, likewise.
            unit_px: Every tile starts at a multiple of it.

        Raises:
            ShapeError: The photo is smaller than a tile or not a multiple of the unit; extend it first
                (`model.vlm.views.mirror_to`).
        """
        for name, value in (("height", height), ("width", width), ("tile", tile_px), ("overlap", overlap_px)):
            if value % unit_px:
                raise ShapeError(
                    f"got a {name} of {value} px, expected a multiple of {unit_px}; extend the photo first"
                )
        sizes = (tile_px // unit_px, overlap_px // unit_px)
        tops, lefts = (tuple(start * unit_px for start in _starts(side // unit_px, *sizes)) for side in (height, width))
        return cls(tops, lefts, tile_px)

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def window(self, index: int) -> tuple[slice, slice]:
        """Rows and columns of a tile, counted line by line."""
        top, left = self.tops[index // len(self.lefts)], self.lefts[index % len(self.lefts)]
        return slice(top, top + self.tile_px), slice(left, left + self.tile_px)


def count_tiles(height: int, width: int, tile_px: int, overlap_px: int, unit_px: int = 1) -> int:
    """Tiles of a photo of any size, first extended to a whole tile and to whole units; see `TileGrid.cover`."""
    rows, columns = (max(tile_px, -(-side // unit_px) * unit_px) for side in (height, width))
    return len(TileGrid.cover(rows, columns, tile_px, overlap_px, unit_px))


def taper(tile_px: int, overlap_px: int) -> torch.Tensor:
    """Weights (tile_px,) of a tile along one side: 1 inside, falling linearly over the overlap, never 0."""
    distance = torch.arange(tile_px, dtype=torch.float32) + 0.5
    ramp = torch.minimum(distance, distance.flip(0)) / max(1, overlap_px)
    return ramp.clamp(max=1)


def weight_sums(starts: tuple[int, ...], length: int, weights: torch.Tensor) -> torch.Tensor:
    """Sum of all tiles' weights along one side, (length,); the sum over the photo is the product of two of these."""
    total = torch.zeros(length)
    for start in starts:
        total[start : start + len(weights)] += weights
    return total


def _starts(length: int, tile_px: int, overlap_px: int) -> tuple[int, ...]:
    if length < tile_px:
        raise ShapeError(f"got a side of {length}, expected at least the tile size {tile_px}; extend the photo first")
    if length == tile_px:
        return (0,)
    count = -(-(length - overlap_px) // (tile_px - overlap_px))
    return tuple(round(index * (length - tile_px) / (count - 1)) for index in range(count))
