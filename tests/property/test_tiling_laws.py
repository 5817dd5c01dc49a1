"""Tiles of photos of any size: everything is covered, and blending gives back what was cut."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from model.errors import ShapeError
from model.tiling import TileGrid, taper, weight_sums


@st.composite
def grids(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Height, width, tile side and overlap that fit each other."""
    tile = draw(st.integers(2, 40))
    overlap = draw(st.integers(0, (tile - 1) // 2))
    return draw(st.integers(tile, 150)), draw(st.integers(tile, 150)), tile, overlap


@given(grids())
@settings(deadline=None)
def test_tiles_lie_inside_the_photo_overlap_enough_and_cover_it(sizes: tuple[int, int, int, int]) -> None:
    height, width, tile, overlap = sizes
    grid = TileGrid.cover(height, width, tile, overlap)
    for starts, length in ((grid.tops, height), (grid.lefts, width)):
        assert starts[0] == 0
        assert starts[-1] == length - tile
        assert all(0 < second - first <= tile - overlap for first, second in itertools.pairwise(starts))
    covered = torch.zeros(height, width, dtype=torch.bool)
    for index in range(len(grid)):
        rows, columns = grid.window(index)
        assert covered[rows, columns].shape == (tile, tile)
        covered[rows, columns] = True
    assert bool(covered.all())


@given(grids())
@settings(deadline=None)
def test_no_grid_with_fewer_tiles_would_do(sizes: tuple[int, int, int, int]) -> None:
    height, _, tile, overlap = sizes
    count = len(TileGrid.cover(height, tile, tile, overlap).tops)
    reach = tile + (count - 2) * (tile - overlap)  # of one tile fewer
    assert count == 1 or reach < height


@given(grids(), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_blending_the_tiles_of_a_photo_gives_the_photo(sizes: tuple[int, int, int, int], seed: int) -> None:
    height, width, tile, overlap = sizes
    photo = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
    grid = TileGrid.cover(height, width, tile, overlap)
    side = taper(tile, overlap)
    total = torch.zeros_like(photo)
    for index in range(len(grid)):
        rows, columns = grid.window(index)
        total[:, rows, columns] += photo[:, rows, columns] * side[:, None] * side
    row_sums, column_sums = weight_sums(grid.tops, height, side), weight_sums(grid.lefts, width, side)
    assert float(row_sums.min()) > 0
    assert float(column_sums.min()) > 0
    blended = total / row_sums[:, None] / column_sums
    torch.testing.assert_close(blended, photo, rtol=1e-5, atol=1e-6)


@given(st.integers(2, 300), st.integers(1, 150))
@settings(deadline=None)
def test_weights_are_positive_symmetric_and_one_inside(tile: int, overlap: int) -> None:
    weights = taper(tile, overlap)
    assert weights.shape == (tile,)
    assert float(weights.min()) > 0
    assert float(weights.max()) <= 1
    assert torch.equal(weights, weights.flip(0))
    assert bool((weights[overlap : tile - overlap] == 1).all())


@given(grids(), st.integers(2, 8))
@settings(deadline=None)
def test_tiles_on_a_block_grid_start_at_its_multiples_and_still_overlap_enough(
    sizes: tuple[int, int, int, int], unit: int
) -> None:
    height, width, tile, overlap = (side * unit for side in sizes)
    grid = TileGrid.cover(height, width, tile, overlap, unit)
    for starts, length in ((grid.tops, height), (grid.lefts, width)):
        assert starts[0] == 0
        assert starts[-1] == length - tile
        assert all(start % unit == 0 for start in starts)
        assert all(0 < second - first <= tile - overlap for first, second in itertools.pairwise(starts))
    with pytest.raises(ShapeError, match=f"height of {height + 1} px, expected a multiple of {unit}"):
        TileGrid.cover(height + 1, width, tile, overlap, unit)


@given(st.integers(2, 40), st.integers(1, 39))
@settings(deadline=None)
def test_photos_smaller_than_a_tile_are_refused(tile: int, side: int) -> None:
    if side < tile:
        with pytest.raises(ShapeError, match="extend the photo first"):
            TileGrid.cover(side, tile, tile, 0)
