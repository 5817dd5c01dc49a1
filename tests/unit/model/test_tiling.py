"""Grids that can be counted by hand."""

from __future__ import annotations

import pytest
import torch

from model.tiling import TileGrid, taper, weight_sums


@pytest.mark.parametrize(
    ("size", "tops", "lefts"),
    [
        ((256, 256), (0,), (0,)),
        ((480, 256), (0, 224), (0,)),
        ((256, 481), (0,), (0, 112, 225)),
        ((300, 257), (0, 44), (0, 1)),
    ],
)
def test_fewest_tiles_evenly_spaced(size: tuple[int, int], tops: tuple[int, ...], lefts: tuple[int, ...]) -> None:
    grid = TileGrid.cover(*size, 256, 32)
    assert grid.tops == tops
    assert grid.lefts == lefts
    assert len(grid) == len(tops) * len(lefts)


def test_windows_are_counted_line_by_line() -> None:
    grid = TileGrid.cover(20, 28, 16, 4)
    assert [(rows.start, columns.start) for rows, columns in map(grid.window, range(4))] == [
        (0, 0),
        (0, 12),
        (4, 0),
        (4, 12),
    ]
    assert grid.window(3) == (slice(4, 20), slice(12, 28))


def test_taper_by_hand() -> None:
    assert taper(8, 2).tolist() == [0.25, 0.75, 1, 1, 1, 1, 0.75, 0.25]
    assert taper(4, 0).tolist() == [0.5, 1, 1, 0.5]


def test_ramps_of_neighbours_that_just_overlap_add_up_to_one() -> None:
    sums = weight_sums((0, 6), 14, taper(8, 2))
    torch.testing.assert_close(sums[1:-1].clamp(max=1), torch.ones(12) * torch.tensor([0.75, *[1.0] * 10, 0.75]))
    assert sums[6] == sums[7] == 1
