"""The table behind a budget of steps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from model.evaluate.damaged import damage_photo
from model.evaluate.step_budget import measure_budget
from model.pipeline import Restorer
from tests.unit.model.samples import write_jpeg


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write_jpeg(tmp_path / f"{index}.jpg", 64, 80, index) for index in range(2)]


def test_a_row_per_kind_and_severity_and_clean_photos_first(restorer: Restorer, paths: list[Path]) -> None:
    rows = list(measure_budget(restorer, paths, ["noise", "inpainting"], [0.3, 0.6], [1, 2], crop_px=64))
    assert [(row.kind, row.severity) for row in rows] == [
        ("clean", 0.0), ("noise", 0.3), ("noise", 0.6), ("inpainting", 0.3), ("inpainting", 0.6),
    ]  # fmt: skip
    for row in rows:
        assert set(row.psnr) == set(row.seconds) == {1, 2}
        assert all(value > 0 for value in row.seconds.values())
        assert 0 <= row.found <= 1
    assert rows[0].before == pytest.approx(100)
    assert rows[1].before > rows[2].before
    assert [row.found for row in rows[3:]] == [1, 1]  # their mask is given


def test_figures_are_those_of_the_restoration(restorer: Restorer, paths: list[Path]) -> None:
    (_, row) = measure_budget(restorer, paths[:1], ["rain"], [0.5], [2])
    damaged = damage_photo(paths[0], "rain", 0.5, 0)
    assert row.psnr[2] == pytest.approx(damaged.score(restorer.restore(damaged.image, steps=2).image))


def test_present_choice_is_shown(restorer: Restorer, paths: list[Path]) -> None:
    config = dataclasses.replace(restorer.config, steps_by_kind={"best": {"inpainting": 7}})
    mine = Restorer(config, restorer.guidance, restorer.network)
    (_, row) = measure_budget(mine, paths, ["inpainting"], [0.5], [1], quality="best")
    assert row.chosen == 7
    (_, row) = measure_budget(mine, paths, ["inpainting"], [0.5], [1])
    assert row.chosen == 2


def test_damage_is_the_same_for_the_same_place_and_cut_on_the_block_grid(paths: list[Path]) -> None:
    first, again, other = (damage_photo(paths[0], "snow", 0.5, index) for index in (3, 3, 4))
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)
    cut = damage_photo(paths[0], "noise", 0.0, 0, crop_px=40)
    assert torch.equal(cut.image, first.clean[..., 8:48, 16:56])
    assert damage_photo(paths[0], "noise", 0.5, 0, crop_px=500).clean.shape == first.clean.shape
