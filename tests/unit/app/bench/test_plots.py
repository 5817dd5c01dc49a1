"""Every kind of figures has its charts; anything else is refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.bench.plots import PlotError, draw_files

LATENCY = {"size": "512", "count": 3, "p50_s": 1.0, "p95_s": 2.0, "p99_s": 2.5}
WAYS = [{"way": name, "megapixels_per_s": 1.0} for name in ("step-level batching", "one at a time")]


def write(path: Path, figures: dict[str, Any]) -> Path:
    path.write_text(json.dumps(figures), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("figures", "names"),
    [
        ({"network": [{"batch": 1, "tiles_per_s": 4.0}, {"batch": 2, "tiles_per_s": 5.0}]}, ["f-rate.png"]),
        ({"engine": {"equal": {"ways": WAYS}, "mixed": {"ways": WAYS}}}, ["f-ways.png"]),
        ({"runs": [{"name": "closed loop", "latencies": [LATENCY]}]}, ["f-service.png"]),
    ],
)
def test_figures_become_pictures(tmp_path: Path, figures: dict[str, Any], names: list[str]) -> None:
    paths = list(draw_files([write(tmp_path / "f.json", figures)], tmp_path / "charts"))
    assert [path.name for path in paths] == names
    for path in paths:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert len(set(picture.convert("RGB").resize((64, 64)).getdata())) > 2  # not an empty page


def test_files_without_figures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlotError, match="no figures"):
        list(draw_files([write(tmp_path / "f.json", {"invariance": {"mixes": 3}})], tmp_path))
    (tmp_path / "text.json").write_text("no JSON")
    with pytest.raises(PlotError, match="not JSON"):
        list(draw_files([tmp_path / "text.json"], tmp_path))
