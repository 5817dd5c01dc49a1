"""Company that changes a picture is found; the real runner's does not."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch

from app.bench.invariance import Sample, draw_pool, measure_invariance, restore_mix
from app.worker.engine import TileRef
from app.worker.runner import Runner
from app.worker.stages import BatchReport
from tests.support.workers import tiny_runner

POOL = [Sample((64, 64), 1, 0), Sample((100, 40), 2, 1), Sample((30, 70), 2, 2)]


@pytest.fixture(scope="module")
def runner() -> Runner:
    return tiny_runner()


def test_photos_come_out_the_same_in_any_company(runner: Runner) -> None:
    sums = list(measure_invariance(runner, 4, POOL, most_jobs=3))
    assert [item.mixes for item in sums] == [1, 2, 3, 4]
    last = sums[-1]
    assert last.photos >= 2 * 4
    assert last.largest <= 1
    assert last.differing_share <= 1e-5


def test_company_that_shows_is_counted(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Runner.run

    def leak(self: Runner, batch: Sequence[TileRef]) -> BatchReport:
        report = run(self, batch)
        if len({tile.job_id for tile in batch}) > 1:
            with torch.inference_mode():
                for tile in batch:
                    self._running[tile.job_id].state.estimate[:, :1, :1] += 1.0  # far beyond rounding
        return report

    monkeypatch.setattr(Runner, "run", leak)
    same = [Sample((64, 64), 1, 0), Sample((64, 64), 1, 1)]
    found = list(measure_invariance(runner, 6, same, most_jobs=2, seed=1))[-1]
    assert found.largest > 1
    assert 0 < found.differing <= found.photos
    assert found.pixels == found.photos * 64 * 64


def test_results_are_in_the_order_of_the_samples(runner: Runner) -> None:
    images = restore_mix(runner, POOL, 4, random.Random(0))
    assert [tuple(image.shape) for image in images] == [(1, 3, 64, 64), (1, 3, 40, 100), (1, 3, 70, 30)]
    assert all(bool(torch.isfinite(image).all()) for image in images)


def test_a_pool_repeats_and_stays_within_its_bounds() -> None:
    pool = draw_pool(50, 90, 3, seed=2)
    assert pool == draw_pool(50, 90, 3, seed=2)
    assert all(16 <= side <= 90 for sample in pool for side in sample.size)
    assert {sample.steps for sample in pool} == {1, 2, 3}


def test_no_company_is_refused(runner: Runner) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        next(measure_invariance(runner, 1, POOL[:1]))
