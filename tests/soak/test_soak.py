"""A short soak: every scene once, and then everything is back at its level. Memory is judged in long runs alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.soak.load import SCENES
from tests.soak.outcome import Plan
from tests.soak.report import write_report
from tests.soak.service import Lifetimes
from tests.soak.soaking import soak

SHORT = Plan(
    seconds=5,
    callers=6,
    every_s=0.5,
    pace_s=0,
    warm_s=0,
    lives=Lifetimes(2, 3, 4, 6),
    stay_s=3,
    pause_s=60,
    once=True,
    idle_s=1,
)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.anyio
async def test_everything_comes_back_to_its_level(tmp_path: Path) -> None:
    outcome = await soak(SHORT, tmp_path)
    text = write_report(outcome, tmp_path / "report")
    assert outcome.is_good, text
    assert set(outcome.tally.scenes) == {scene.__name__ for scene in SCENES}
    assert max(sample.keys for sample in outcome.server) > outcome.before["Redis: keys"]  # else nothing came back
    assert outcome.visits
    figures = json.loads((tmp_path / "report" / "soak.json").read_text())
    assert set(figures["processes"]) == {"API", "worker", "Redis"}
    assert (tmp_path / "report" / "soak.png").stat().st_size > 10_000
