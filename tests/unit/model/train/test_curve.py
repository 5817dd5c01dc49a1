"""The line through the figures of a run meets the goal where it should."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from model.errors import ModelError
from model.train.curve import Point, extrapolate, read_curve


def test_a_dB_per_doubling_is_found_and_extended() -> None:
    points = [Point(index, 100.0 * 2**index, 25.0 + index) for index in range(4)]
    outlook = extrapolate(points, 30.0)
    assert outlook.per_doubling == pytest.approx(1.0)
    assert outlook.seconds == pytest.approx(3200.0)


def test_a_figure_that_does_not_rise_never_meets_the_goal() -> None:
    points = [Point(index, 100.0 * 2**index, 25.0 - index) for index in range(4)]
    assert extrapolate(points, 30.0).seconds == math.inf


def test_two_points_are_no_curve() -> None:
    with pytest.raises(ModelError, match="got 2 figures at different times"):
        extrapolate([Point(1, 1.0, 1.0), Point(2, 2.0, 2.0)], 3.0)


def test_a_finished_run_started_again_adds_nothing() -> None:
    points = [Point(1, 100.0, 20.0), Point(2, 200.0, 21.0), Point(2, 200.0, 21.0), Point(0, 0.0, 3.0)]
    with pytest.raises(ModelError, match="got 2 figures at different times"):
        extrapolate(points, 30.0)


def test_figures_are_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,elapsed_s,name,value\n5,1.5,loss,0.1\n5,1.5,psnr_a,20.5\n9,3.0,psnr_a,21\n", encoding="utf-8")
    assert read_curve(path, "psnr_a") == [Point(5, 1.5, 20.5), Point(9, 3.0, 21.0)]
    with pytest.raises(ModelError, match="no figure 'psnr_b'; there are loss, psnr_a"):
        read_curve(path, "psnr_b")
    with pytest.raises(ModelError, match="cannot be read"):
        read_curve(tmp_path / "none.csv", "psnr_a")
