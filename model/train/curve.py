"""PSNR against training time, read from a run's metrics, and how far a goal lies beyond it."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from model.errors import ModelError

_LEAST_POINTS = 3


@dataclass(frozen=True)
class Point:
    """A held-out figure during a run: training steps, seconds of training, value (dB)."""

    step: int
    elapsed_s: float
    value: float


@dataclass(frozen=True)
class Outlook:
    """A straight line through the figures over the logarithm of time.

    Attributes:
        per_doubling: Gain per doubling of the training time, dB.
        seconds: Training time at which the line meets the goal; infinite where it does not rise.
    """

    per_doubling: float
    seconds: float


def read_curve(metrics: Path, figure: str) -> list[Point]:
    """All values of a figure, in order of time.

    Args:
        metrics: `metrics.csv` of a run.
        figure: Name, such as `psnr_sigma25`.

    Raises:
        ModelError: No such file, or no such figure in it.
    """
    try:
        with metrics.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if len(row) == 4 and row[0] != "step"]
    except OSError as error:
        raise ModelError(f"{metrics}: cannot be read ({error}); give the metrics.csv below OUT/training") from error
    points = [Point(int(step), float(elapsed), float(value)) for step, elapsed, name, value in rows if name == figure]
    if not points:
        names = sorted({row[2] for row in rows})
        raise ModelError(f"{metrics}: no figure {figure!r}; there are {', '.join(names) or 'none'}")
    return points


def extrapolate(points: list[Point], goal: float) -> Outlook:
    """Least squares of the figure over log2 of the training time, extended to the goal.

    A rough outlook: the learning rate falls during a run and restoration flattens out near what a network of its size
    can do, so the true time is longer.

    Raises:
        ModelError: Fewer than three points.
    """
    points = list(
        {point.elapsed_s: point for point in points if point.elapsed_s > 0}.values()
    )  # a finished run repeats
    if len(points) < _LEAST_POINTS:
        raise ModelError(
            f"got {len(points)} figures at different times, expected at least {_LEAST_POINTS}; train longer"
        )
    times = [math.log2(point.elapsed_s) for point in points]
    mean_time, mean_value = sum(times) / len(times), sum(point.value for point in points) / len(points)
    spread = sum((time - mean_time) ** 2 for time in times)
    slope = sum((time - mean_time) * (p.value - mean_value) for time, p in zip(times, points, strict=True)) / spread
    if slope <= 0:
        return Outlook(slope, math.inf)
    return Outlook(slope, 2 ** min(1000.0, mean_time + (goal - mean_value) / slope))
