"""Line and bar charts as plain coordinates, which `charts.html.j2` turns into SVG in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LINES_WIDTH, LINES_HEIGHT = 360, 240
BARS_WIDTH, BAR_HEIGHT = 720, 11
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 20, 32, 40
_NAMES_WIDTH, _VALUES_WIDTH, _GROUP_GAP = 150, 46, 9


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, in px, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Series:
    """One line, or one bar in every group.

    Attributes:
        name: In the legend.
        points: (x, y) by rising x; for bars, (number of the group, length).
        colour: Class of the style sheet.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    colour: str


@dataclass(frozen=True)
class Mark:
    """A dot of a line or a bar, in px; `tip` is what the pointer shows."""

    x: float
    y: float
    width: float
    tip: str
    label: str = ""


@dataclass(frozen=True)
class Placed:
    """A series with its marks in px."""

    name: str
    colour: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Chart:
    """A drawn chart.

    Attributes:
        kind: "lines" or "bars".
        title: Above it.
        x_label: Below lines; the unit of bars.
        y_label: Of lines.
        width: Px.
        height: Px.
        x_ticks: Along the lower edge.
        y_ticks: Along the left edge: values of lines, names of groups of bars.
        series: What is drawn.
        zero: Where the value 0 is, px (bars).
    """

    kind: str
    title: str
    x_label: str
    y_label: str
    width: int
    height: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Placed, ...]
    zero: float = 0.0


def draw_lines(
    title: str, x_label: str, y_label: str, series: Sequence[Series], *, doubling_x: bool = False
) -> Chart | None:
    """Place lines; None when there are no two points to join.

    Args:
        title: Above the chart.
        x_label: Below it.
        y_label: Of the values.
        series: Lines; empty ones are left out.
        doubling_x: A logarithmic x axis, for positive x.
    """
    drawn = [line for line in series if line.points]
    xs = sorted({x for line in drawn for x, _ in line.points})
    if len(xs) < 2:
        return None
    values = nice_ticks([y for line in drawn for _, y in line.points])
    inner_width, inner_height = LINES_WIDTH - _LEFT - _RIGHT, LINES_HEIGHT - _TOP - _BOTTOM

    def x_px(x: float) -> float:
        low, high, value = (math.log2(v) if doubling_x else v for v in (xs[0], xs[-1], x))
        return _LEFT + (value - low) / (high - low) * inner_width

    def y_px(y: float) -> float:
        return LINES_HEIGHT - _BOTTOM - (y - values[0]) / (values[-1] - values[0]) * inner_height

    placed = [
        Placed(
            line.name,
            line.colour,
            tuple(Mark(x_px(x), y_px(y), 0, f"{line.name}, {x_label} {x:g}: {y:.3g}") for x, y in line.points),
        )
        for line in drawn
    ]
    return Chart(
        "lines", title, x_label, y_label, LINES_WIDTH, LINES_HEIGHT,
        tuple(Tick(x_px(x), f"{x:g}") for x in xs), tuple(Tick(y_px(y), f"{y:g}") for y in values), tuple(placed),
    )  # fmt: skip


def draw_bars(title: str, unit: str, names: Sequence[str], series: Sequence[Series]) -> Chart | None:
    """Place lying bars in groups; None when there are none.

    Args:
        title: Above the chart.
        unit: Of the lengths.
        names: Of the groups, from top to bottom.
        series: Bars; the x of a point is the number of its group.
    """
    lengths = [y for row in series for _, y in row.points]
    if not lengths:
        return None
    values = nice_ticks([*lengths, 0.0])
    group = BAR_HEIGHT * len(series) + _GROUP_GAP
    left, inner = _NAMES_WIDTH + _VALUES_WIDTH, BARS_WIDTH - _NAMES_WIDTH - 2 * _VALUES_WIDTH

    def x_px(value: float) -> float:
        return left + (value - values[0]) / (values[-1] - values[0]) * inner

    placed = []
    for place, row in enumerate(series):
        marks = []
        for number, length in row.points:
            start, end = sorted((x_px(0), x_px(length)))
            top = _TOP + number * group + _GROUP_GAP / 2 + place * BAR_HEIGHT
            tip = f"{names[int(number)]}, {row.name}: {length:+.2f} {unit}"
            marks.append(Mark(start, top, max(end - start, 1.0), tip, f"{length:+.1f}"))
        placed.append(Placed(row.name, row.colour, tuple(marks)))
    middle = _TOP + group / 2
    return Chart(
        "bars", title, unit, "", BARS_WIDTH, _TOP + group * len(names) + 26,
        tuple(Tick(x_px(value), f"{value:g}") for value in values),
        tuple(Tick(middle + number * group, name) for number, name in enumerate(names)),
        tuple(placed), x_px(0),
    )  # fmt: skip


def nice_ticks(values: Sequence[float], about: int = 5) -> list[float]:
    """About so many round numbers, the first not above and the last not below any of the values."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]
