"""What a restoration costs, and whether company changes it."""

from __future__ import annotations

import pytest

from model.evaluate.compute import measure_company, measure_compute
from model.pipeline import Restorer


@pytest.mark.parametrize(("quality", "steps"), [("fast", 1), ("balanced", 2)])
def test_cost_is_positive_and_counted(restorer: Restorer, quality: str, steps: int) -> None:
    figures = measure_compute(restorer, 96, quality)
    assert figures["steps"] == steps
    assert figures["side_px"] == 96
    assert all(value > 0 for value in figures.values())
    assert figures["peak_rss_mib"] < 1e6


def test_more_steps_cost_more(restorer: Restorer) -> None:
    one, two = (measure_compute(restorer, 96, quality)["tflop_per_megapixel"] for quality in ("fast", "balanced"))
    assert one < two <= 2 * one


def test_company_is_measured_and_harmless(restorer: Restorer) -> None:
    figures = measure_company(restorer, steps=1)
    assert set(figures) == {
        "twice_largest",
        "twice_pixels_per_100000",
        "beside_seven_largest",
        "beside_seven_pixels_per_100000",
    }
    assert figures["twice_largest"] == 0
    assert figures["beside_seven_largest"] <= 1
    assert figures["beside_seven_pixels_per_100000"] <= 1
