"""Charts: round ticks, marks in the right places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluate.charts import Series, draw_bars, draw_lines, nice_ticks


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([20.1, 34.9], [20, 25, 30, 35]),
        ([0, 1], [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ([3, 3], [2.4, 2.6, 2.8, 3, 3.2, 3.4, 3.6]),
    ],
)
def test_ticks_are_round(values: list[float], ticks: list[float]) -> None:
    assert nice_ticks(values) == pytest.approx(ticks)


@given(st.lists(st.floats(-1e4, 1e4, allow_nan=False), min_size=1, max_size=6))
def test_ticks_hold_all_values(values: list[float]) -> None:
    ticks = nice_ticks(values)
    assert 2 <= len(ticks) <= 12
    assert ticks == sorted(set(ticks))
    assert ticks[0] <= min(values) + 1e-6
    assert ticks[-1] >= max(values) - 1e-6


def test_lines_are_placed() -> None:
    chart = draw_lines(
        "t", "steps", "dB", [Series("a", ((1, 20), (4, 30), (16, 25)), "c0"), Series("b", (), "c1")], doubling_x=True
    )
    assert chart is not None
    (line,) = chart.series
    x = [mark.x for mark in line.marks]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1])
    assert line.marks[1].y < line.marks[2].y < line.marks[0].y
    assert all(0 < mark.x < chart.width and 0 < mark.y < chart.height for mark in line.marks)
    assert [tick.label for tick in chart.x_ticks] == ["1", "4", "16"]
    assert line.marks[0].tip == "a, steps 1: 20"


def test_a_single_strength_is_no_line() -> None:
    assert draw_lines("t", "x", "y", [Series("a", ((1, 2),), "c0"), Series("b", ((1, 3),), "c1")]) is None


def test_bars_start_at_zero() -> None:
    chart = draw_bars("t", "dB", ["a", "b"], [Series("model", ((0, 2.0), (1, -1.0)), "model")])
    assert chart is not None
    up, down = chart.series[0].marks
    assert up.x == pytest.approx(chart.zero)
    assert down.x + down.width == pytest.approx(chart.zero)
    assert up.width == pytest.approx(2 * down.width)
    assert up.label == "+2.0"
    assert draw_bars("t", "dB", [], []) is None
