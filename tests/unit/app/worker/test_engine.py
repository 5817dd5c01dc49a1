"""Single behaviours of the engine; its laws are in tests/property."""

from __future__ import annotations

import pytest

from app.worker.deadlines import NO_DEADLINE, Deadline
from app.worker.engine import Engine, EnginePolicy, JobShape, TileRef
from app.worker.fairness import DeficitRing


def make_engine(batch_tiles: int = 4, quantum_tiles: int = 1, max_state_bytes: int = 100) -> Engine:
    return Engine(EnginePolicy(batch_tiles, quantum_tiles, max_state_bytes))


def test_batch_mixes_tiles_of_jobs_at_different_steps() -> None:
    engine = make_engine(batch_tiles=2)
    engine.add(JobShape("early", tiles=1, steps=3))
    engine.complete(engine.next_batch())
    assert not engine.step_done("early")
    engine.add(JobShape("late", tiles=1, steps=1))
    assert engine.next_batch() == [TileRef("early", 0, 1), TileRef("late", 0, 0)]


def test_next_step_waits_for_step_done() -> None:
    engine = make_engine()
    engine.add(JobShape("a", tiles=2, steps=2))
    batch = engine.next_batch()
    assert len(batch) == 2
    assert engine.next_batch() == []
    assert engine.complete(batch) == ["a"]
    assert engine.next_batch() == []
    engine.step_done("a")
    assert [tile.step for tile in engine.next_batch()] == [1, 1]


def test_small_job_is_in_every_batch_beside_a_giant() -> None:
    engine = make_engine(batch_tiles=8, quantum_tiles=2)
    engine.add(JobShape("giant", tiles=600, steps=1))
    engine.add(JobShape("small", tiles=1, steps=4))
    for _ in range(4):
        batch = engine.next_batch()
        assert [tile.job_id for tile in batch].count("small") == 1
        assert "small" in engine.complete(batch)
        engine.step_done("small")


def test_removed_job_is_ignored_when_its_batch_completes() -> None:
    engine = make_engine()
    engine.add(JobShape("a", tiles=1, steps=1))
    engine.add(JobShape("b", tiles=1, steps=1))
    batch = engine.next_batch()
    engine.remove("a")
    assert engine.complete(batch) == ["b"]


def test_job_above_the_budget_is_admitted_alone_only() -> None:
    engine = make_engine(max_state_bytes=100)
    assert engine.can_admit(1000)
    engine.add(JobShape("a", tiles=1, steps=1, state_bytes=60))
    assert engine.can_admit(40)
    assert not engine.can_admit(41)
    engine.remove("a")
    assert engine.can_admit(1000)


def test_finished_job_keeps_its_memory_until_removed() -> None:
    engine = make_engine()
    engine.add(JobShape("a", tiles=1, steps=1, state_bytes=70))
    engine.complete(engine.next_batch())
    assert engine.step_done("a")
    assert engine.state_bytes == 70
    engine.remove("a")
    assert engine.state_bytes == 0


def test_batch_limit_can_shrink_and_grow() -> None:
    engine = make_engine(batch_tiles=4)
    engine.add(JobShape("a", tiles=20, steps=1))
    engine.limit_batch(1)
    assert len(engine.next_batch()) == 1
    engine.limit_batch(6)
    assert len(engine.next_batch()) == 6


def test_status_tells_step_tiles_left_and_age() -> None:
    now = [10.0]
    engine = Engine(EnginePolicy(batch_tiles=2), clock=lambda: now[0])
    engine.add(JobShape("a", tiles=3, steps=2))
    now[0] = 12.5
    engine.complete(engine.next_batch())
    status = engine.status("a")
    assert (status.step, status.tiles_left, status.age_s) == (0, 4, 2.5)


def test_overdue_jobs_are_those_not_begun_or_not_done_in_time() -> None:
    now = [0.0]
    engine = Engine(EnginePolicy(batch_tiles=1), clock=lambda: now[0])
    deadlines = {
        "begins": Deadline(start_by_s=10.0),
        "late": Deadline(finish_by_s=20.0),
        "waits": Deadline(start_by_s=10.0, finish_by_s=99.0),
        "patient": NO_DEADLINE,
    }
    for name, deadline in deadlines.items():
        engine.add(JobShape(name, tiles=1, steps=2, deadline=deadline))
    first, second = engine.next_batch(), engine.next_batch()
    assert [tile.job_id for tile in (*first, *second)] == ["begins", "late"]
    now[0] = 10.0
    assert engine.overdue() == []  # in time to the last moment
    now[0] = 10.5
    assert engine.overdue() == ["waits"]
    now[0] = 20.5
    assert engine.overdue() == ["late", "waits"]
    engine.remove("waits")
    engine.complete(second)
    engine.step_done("late")
    assert engine.overdue() == ["late"]
    while "late" not in engine.complete(engine.next_batch()):
        pass
    assert engine.step_done("late")
    assert engine.overdue() == []  # it is done, and its result is only to be delivered


@pytest.mark.parametrize("tile", [TileRef("a", 0, 0), TileRef("a", 9, 0), TileRef("a", 1, 1)])
def test_completing_a_tile_that_is_not_running_is_refused(tile: TileRef) -> None:
    engine = make_engine(batch_tiles=1)
    engine.add(JobShape("a", tiles=3, steps=2))
    engine.complete(engine.next_batch())
    running = engine.next_batch()
    with pytest.raises(ValueError, match="is not running"):
        engine.complete([*running, tile])
    assert engine.complete(running) == []


def test_misuse_is_refused_with_a_message() -> None:
    engine = make_engine()
    engine.add(JobShape("a", tiles=2, steps=1))
    with pytest.raises(ValueError, match="admitted already"):
        engine.add(JobShape("a", tiles=2, steps=1))
    with pytest.raises(ValueError, match="cannot end step 0 of 1"):
        engine.step_done("a")
    with pytest.raises(ValueError, match="at least 1"):
        engine.limit_batch(0)
    with pytest.raises(ValueError, match="quantum_tiles"):
        EnginePolicy(quantum_tiles=0)
    with pytest.raises(ValueError, match="weight of priority 'x'"):
        EnginePolicy(priority_weights=(("x", 0),))
    with pytest.raises(ValueError, match="tiles >= 1"):
        JobShape("b", tiles=0, steps=1)
    with pytest.raises(ValueError, match="quantum"):
        DeficitRing(0)


def test_rings_of_departed_tenants_do_not_pile_up() -> None:
    engine = make_engine(max_state_bytes=1)
    for number in range(100):
        engine.add(JobShape("a", tiles=1, steps=1, tenant=f"tenant-{number}"))
        engine.complete(engine.next_batch())
        engine.step_done("a")
        engine.remove("a")
    assert len(engine._turns.jobs) == len(engine._turns.tenants) == 0


def test_debts_last_as_long_as_those_who_owe() -> None:
    engine = make_engine(batch_tiles=4, quantum_tiles=1)
    engine.add(JobShape("day", tiles=100, steps=1, model="day"))
    engine.add(JobShape("night", tiles=4, steps=2, priority="batch", tenant="b", model="night"))
    while "night" not in engine.complete(batch := engine.next_batch()):
        pass
    assert len(batch) == 4
    turns = engine._turns
    assert not len(turns.tenants["batch"])  # none of its tiles waits: only its priority owes
    assert not len(turns.jobs["batch", "b"])
    assert turns.priorities.debt("batch") > 0
    engine.remove("night")
    assert set(turns.tenants) == {"interactive"}
    assert turns.priorities.debt("batch") > 0
    engine.remove("day")
    assert not turns.jobs
    assert not turns.tenants
    assert not turns.priorities.debt("batch")


def test_batch_is_filled_with_one_model_and_those_passed_over_come_next() -> None:
    engine = make_engine(batch_tiles=4)
    engine.add(JobShape("day", tiles=3, steps=1, model="day"))
    engine.add(JobShape("night", tiles=3, steps=1, model="night"))
    engine.add(JobShape("later", tiles=3, steps=1, model="day", priority="batch", tenant="other"))
    assert [tile.job_id for tile in engine.next_batch()] == ["day", "day", "day", "later"]
    assert [tile.job_id for tile in engine.next_batch()] == ["night"] * 3
    assert [tile.job_id for tile in engine.next_batch()] == ["later"] * 2
    assert engine.next_batch() == []


def test_models_have_batch_limits_of_their_own() -> None:
    engine = make_engine(batch_tiles=4)
    engine.limit_batch(1, "night")
    for model in ("day", "night"):
        engine.add(JobShape(model, tiles=5, steps=1, model=model))
    assert sorted(len(engine.next_batch()) for _ in range(2)) == [1, 4]
