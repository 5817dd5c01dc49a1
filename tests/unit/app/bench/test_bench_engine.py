"""Every way to serve the photos runs all their tile-steps, and the engine is compared with as many forwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from app.bench.decoded import make_photos
from app.bench.engine import compare_ways, measure_overheads
from app.bench.network import measure_network
from app.bench.whole import group_equals, restore_whole
from app.images import ImageLimits
from app.worker.runner import Runner
from model.pipeline import Analysis

SIZES = [(64, 64), (100, 80), (64, 64)]
TILE_STEPS = 2 * (1 + 2 * 2 + 1)  # two steps; 100 x 80 takes two by two tiles of 64 px


@pytest.fixture(scope="module")
def runner() -> Runner:
    runner = Runner("tiny", "cpu", 0, 4, ImageLimits())
    runner.load()
    return runner


def test_the_engine_is_compared_on_all_tile_steps(runner: Runner) -> None:
    found = measure_overheads(runner, {"mixed": SIZES, "one": SIZES[:1]}, steps=2, rounds=2)
    overhead = found["mixed"]
    assert overhead.tile_steps == TILE_STEPS
    assert overhead.batches >= TILE_STEPS / runner.batch_tiles
    assert overhead.ratio == overhead.engine_s / overhead.network_s > 0
    assert overhead.tile_steps_per_s == pytest.approx(TILE_STEPS / overhead.engine_s)
    assert found["one"].tile_steps == 2


def test_every_way_serves_every_photo(runner: Runner) -> None:
    rows = {row.way: row for row in compare_ways(runner, SIZES, steps=2, rounds=1)}
    assert len(rows) == 4
    assert rows["step-level batching"].items == rows["one at a time"].items == TILE_STEPS
    assert rows["plain pipeline loop"].items == rows["static batches of equals"].items == 2 * len(SIZES)
    assert all(row.megapixels_per_s > 0 for row in rows.values())


def test_forwards_are_calls_of_the_network(runner: Runner) -> None:
    calls: list[int] = []
    hook = runner.restorer.network.register_forward_hook(lambda module, given, result: calls.append(len(result)))
    try:
        rows = {row.way: row for row in compare_ways(runner, SIZES, steps=2, rounds=1)}
    finally:
        hook.remove()
    assert sum(row.forwards for row in rows.values()) == len(calls)
    assert rows["step-level batching"].forwards == TILE_STEPS / runner.batch_tiles  # full to the last one
    assert rows["one at a time"].forwards == 2 * (1 + 2 + 1)
    assert rows["static batches of equals"].forwards == 2 * 2
    assert rows["plain pipeline loop"].forwards == 2 * len(SIZES)


def test_both_parts_run_batches_of_one_size(runner: Runner) -> None:
    overhead = measure_overheads(runner, {"mixed": SIZES}, steps=2, rounds=1)["mixed"]
    (row, *_) = compare_ways(runner, SIZES, steps=2, rounds=1)
    assert row.forwards == overhead.batches


def test_whole_photos_are_looked_at_together_and_take_no_step_beyond_the_last_estimate(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    steps: list[int] = []
    restorer, look, step = runner.restorer, runner.restorer.analyze_many, runner.restorer.scheduler.step

    def count_photos(images: Sequence[torch.Tensor], captions: Sequence[str | None]) -> list[Analysis]:
        groups.append(len(images))
        return look(images, captions)

    def count_steps(*given: Any, **named: Any) -> Any:
        steps.append(named["previous_timestep"])
        return step(*given, **named)

    monkeypatch.setattr(restorer, "analyze_many", count_photos)
    monkeypatch.setattr(restorer.scheduler, "step", count_steps)
    assert restore_whole(runner, make_photos([(64, 64)] * 3), steps=2) == [3, 3]
    assert groups == [3]
    assert steps == [50]


def test_static_batches_hold_photos_of_one_size_and_no_more_than_they_may() -> None:
    photos = make_photos([(64, 64), (32, 64), (64, 64), (64, 64)])
    groups = list(group_equals(photos, 2))
    assert sorted(len(group) for group in groups) == [1, 1, 2]
    assert all(len({photo.image.shape for photo in group}) == 1 for group in groups)


def test_the_network_is_timed_per_batch_size(runner: Runner) -> None:
    rows = list(measure_network(runner.restorer, [1, 2], rounds=2))
    assert [row.batch for row in rows] == [1, 2]
    for row in rows:
        assert row.tiles_per_s == pytest.approx(row.batch / row.milliseconds * 1000)
        assert row.share_of_peak > 0
    work = [row.tflop_per_s * row.milliseconds for row in rows]
    assert work[1] == pytest.approx(2 * work[0], rel=1e-6)
