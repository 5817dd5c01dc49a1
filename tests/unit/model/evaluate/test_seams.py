"""Seams are seen where there are some, and only there."""

from __future__ import annotations

import pytest
import torch

from model.evaluate.seams import find_grid, seam_excess, sky, sky_samples, sky_side
from model.pipeline import Restorer
from model.tiling import TileGrid
from tests.unit.model.samples import generator

SIDE, GRID = 176, TileGrid.cover(176, 176, 64, 8)


def noisy_sky(sigma: float) -> torch.Tensor:
    return sky(SIDE, SIDE) + sigma / 255 * torch.randn(1, 3, SIDE, SIDE, generator=generator())


def test_a_sky_without_seams_has_none() -> None:
    assert abs(seam_excess(noisy_sky(4), GRID)) < 3
    assert abs(seam_excess(sky(SIDE, SIDE), GRID)) < 1


@pytest.mark.parametrize("axis", [2, 3])
def test_a_step_of_one_level_at_a_tile_border_shows(axis: int) -> None:
    image = noisy_sky(0.3)
    start = GRID.lefts[1]
    image.narrow(axis, start, SIDE - start).add_(1 / 255)
    assert seam_excess(image, GRID) > 10


def test_a_step_elsewhere_is_no_seam() -> None:
    image = noisy_sky(0.3)
    image[..., GRID.lefts[1] + 20 :] += 1 / 255
    assert seam_excess(image, GRID) < 3


def test_one_tile_has_no_borders() -> None:
    with pytest.raises(ValueError, match="expected several tiles"):
        seam_excess(torch.rand(1, 3, 64, 64), TileGrid.cover(64, 64, 64, 8))


def test_skies_of_the_suite_are_of_several_tiles_with_the_least_overlap(restorer: Restorer) -> None:
    grid = find_grid(restorer)
    assert sky_side(restorer) == SIDE
    assert grid == GRID
    first, second = sky_samples(restorer, 2)
    assert first.damaged.shape == (1, 3, SIDE, SIDE)
    assert not torch.equal(first.damaged, second.damaged)
    assert first.clean is not None
    assert torch.equal(first.clean, sky(SIDE, SIDE))
