"""Every way to serve the photos runs all their tile-steps, and the engine is compared with as many forwards."""

from __future__ import annotations

import pytest

from app.bench.engine import compare_ways, measure_overhead
from app.bench.network import measure_network
from app.images import ImageLimits
from app.worker.runner import Runner

SIZES = [(64, 64), (100, 80), (64, 64)]
TILE_STEPS = 2 * (1 + 2 * 2 + 1)  # two steps; 100 x 80 takes two by two tiles of 64 px


@pytest.fixture(scope="module")
def runner() -> Runner:
    runner = Runner("tiny", "cpu", 0, 4, ImageLimits())
    runner.load()
    return runner


def test_the_engine_is_compared_on_all_tile_steps(runner: Runner) -> None:
    overhead = measure_overhead(runner, SIZES, steps=2, rounds=1)
    assert overhead.tile_steps == TILE_STEPS
    assert overhead.batches >= TILE_STEPS / runner.batch_tiles
    assert overhead.ratio == overhead.engine_s / overhead.network_s > 0


def test_every_way_serves_every_photo(runner: Runner) -> None:
    rows = {row.way: row for row in compare_ways(runner, SIZES, steps=2, rounds=1)}
    plain = rows.pop("plain pipeline loop")
    assert plain.tile_steps == 2 * len(SIZES)
    assert len(rows) == 3
    assert {row.tile_steps for row in rows.values()} == {TILE_STEPS}
    assert all(row.megapixels_per_s > 0 for row in (plain, *rows.values()))


def test_the_network_is_timed_per_batch_size(runner: Runner) -> None:
    rows = list(measure_network(runner.restorer, [1, 2], rounds=2))
    assert [row.batch for row in rows] == [1, 2]
    for row in rows:
        assert row.tiles_per_s == pytest.approx(row.batch / row.milliseconds * 1000)
        assert row.share_of_peak > 0
    work = [row.tflop_per_s * row.milliseconds for row in rows]
    assert work[1] == pytest.approx(2 * work[0], rel=1e-6)
