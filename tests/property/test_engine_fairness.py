"""Shares of the engine: who gets how many tiles while others want them too, and that a run can be replayed."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from app.worker.engine import Engine, EnginePolicy, JobShape, TileRef

SHAPES = st.lists(
    st.builds(
        JobShape,
        job_id=st.uuids().map(str),
        tiles=st.integers(1, 40),
        steps=st.integers(1, 3),
        priority=st.sampled_from(["interactive", "batch"]),
        tenant=st.sampled_from(["a", "b", "c"]),
        model=st.sampled_from(["day", "night"]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda shape: shape.job_id,
)


def run_to_end(engine: Engine, shapes: list[JobShape]) -> list[list[TileRef]]:
    for shape in shapes:
        engine.add(shape)
    batches = []
    while batch := engine.next_batch():
        batches.append(batch)
        for job_id in engine.complete(batch):
            if engine.step_done(job_id):
                engine.remove(job_id)
    return batches


@given(shapes=SHAPES, batch_tiles=st.integers(1, 16), quantum=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_same_calls_give_the_same_batches(shapes: list[JobShape], batch_tiles: int, quantum: int) -> None:
    policy = EnginePolicy(batch_tiles=batch_tiles, quantum_tiles=quantum)
    ticks = iter(range(10**6))
    first = run_to_end(Engine(policy, clock=lambda: 0.0), shapes)
    second = run_to_end(Engine(policy, clock=lambda: float(next(ticks))), shapes)
    assert first == second
    ran = [tile for batch in first for tile in batch]
    assert len(ran) == len(set(ran)) == sum(shape.tiles * shape.steps for shape in shapes)


@given(giants=st.integers(1, 6), quantum=st.integers(1, 4), batch_tiles=st.integers(1, 16), steps=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_small_job_waits_at_most_one_turn_of_each_giant(
    giants: int, quantum: int, batch_tiles: int, steps: int
) -> None:
    engine = Engine(EnginePolicy(batch_tiles=batch_tiles, quantum_tiles=quantum))
    for number in range(giants):
        engine.add(JobShape(f"giant-{number}", tiles=10_000, steps=4))
    engine.complete(engine.next_batch())
    engine.add(JobShape("small", tiles=1, steps=steps))
    waited = 0
    for _ in range(steps):
        while True:
            batch = engine.next_batch()
            mine = [index for index, tile in enumerate(batch) if tile.job_id == "small"]
            waited += mine[0] if mine else len(batch)
            engine.complete(batch)
            if mine:
                break
        assert waited <= giants * quantum
        waited = 0
        if engine.step_done("small"):
            engine.remove("small")


@given(quantum=st.integers(1, 4), batch_tiles=st.integers(1, 16), rounds=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_busy_tenants_share_evenly_however_many_jobs_they_have(quantum: int, batch_tiles: int, rounds: int) -> None:
    engine = Engine(EnginePolicy(batch_tiles=batch_tiles, quantum_tiles=quantum))
    for number in range(5):
        engine.add(JobShape(f"crowd-{number}", tiles=10_000, steps=1, tenant="crowd"))
    engine.add(JobShape("single", tiles=10_000, steps=1, tenant="single"))
    served = {"crowd": 0, "single": 0}
    for _ in range(rounds):
        batch = engine.next_batch()
        engine.complete(batch)
        for tile in batch:
            served[tile.job_id.split("-")[0]] += 1
        assert abs(served["crowd"] - served["single"]) <= quantum


@given(rounds=st.integers(5, 60), weight=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_priorities_share_by_weight_and_none_starves(rounds: int, weight: int) -> None:
    policy = EnginePolicy(batch_tiles=7, quantum_tiles=2, priority_weights=(("interactive", weight), ("batch", 1)))
    engine = Engine(policy)
    engine.add(JobShape("a", tiles=10_000, steps=1, priority="interactive"))
    engine.add(JobShape("b", tiles=10_000, steps=1, priority="batch"))
    served = {"a": 0, "b": 0}
    for _ in range(rounds):
        batch = engine.next_batch()
        engine.complete(batch)
        for tile in batch:
            served[tile.job_id] += 1
    assert abs(served["a"] - weight * served["b"]) <= 2 * 2 * weight


@given(
    giants=st.integers(1, 4), quantum=st.integers(1, 4), batch_tiles=st.integers(1, 16), priority=st.sampled_from("ib")
)
@settings(max_examples=60, deadline=None)
def test_jobs_of_a_rare_model_wait_at_most_one_turn_of_each_other(
    giants: int, quantum: int, batch_tiles: int, priority: str
) -> None:
    engine = Engine(EnginePolicy(batch_tiles=batch_tiles, quantum_tiles=quantum))
    for number in range(giants):
        engine.add(JobShape(f"giant-{number}", tiles=10_000, steps=1, model="day"))
    engine.complete(engine.next_batch())
    engine.add(JobShape("rare", tiles=1, steps=1, priority={"i": "interactive", "b": "batch"}[priority], model="night"))
    waited = 0
    while engine.status("rare").tiles_left and "rare" not in engine.complete(engine.next_batch()):
        waited += 1
        assert waited <= max(giants, 4) * quantum  # batches; every one takes a tile from whose turn it is


@given(quantum=st.integers(1, 4), batch_tiles=st.integers(1, 16), rounds=st.integers(2, 60), weight=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_priorities_share_by_weight_across_models(quantum: int, batch_tiles: int, rounds: int, weight: int) -> None:
    weights = (("interactive", weight), ("batch", 1))
    engine = Engine(EnginePolicy(batch_tiles=batch_tiles, quantum_tiles=quantum, priority_weights=weights))
    for model, priority in (("day", "interactive"), ("night", "batch")):
        engine.add(JobShape(model, tiles=10_000, steps=1, priority=priority, model=model))
    served = {"day": 0, "night": 0}
    for _ in range(rounds):
        batch = engine.next_batch()
        engine.complete(batch)
        assert len({tile.job_id for tile in batch}) == 1
        served[batch[0].job_id] += len(batch)
        # at most a batch and a turn ahead of what it is due
        assert abs(served["day"] - weight * served["night"]) <= weight * (batch_tiles + 2 * quantum)


@given(quantum=st.integers(1, 4), batch_tiles=st.integers(1, 16), rounds=st.integers(2, 60))
@settings(max_examples=60, deadline=None)
def test_jobs_share_evenly_whatever_their_models(quantum: int, batch_tiles: int, rounds: int) -> None:
    engine = Engine(EnginePolicy(batch_tiles=batch_tiles, quantum_tiles=quantum))
    for name, model in (("a", "day"), ("b", "day"), ("c", "day"), ("d", "night")):
        engine.add(JobShape(name, tiles=10_000, steps=1, model=model))
    served = dict.fromkeys("abcd", 0)
    for _ in range(rounds):
        batch = engine.next_batch()
        engine.complete(batch)
        for tile in batch:
            served[tile.job_id] += 1
    assert max(served.values()) - min(served.values()) <= batch_tiles + 2 * quantum


@given(
    level=st.sampled_from(["priority", "tenant", "job"]),
    quantum=st.integers(1, 4),
    batch_tiles=st.integers(1, 16),
    tiles=st.integers(1, 16),
    weight=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_job_of_another_model_keeps_to_its_share_from_step_to_step(
    level: str, quantum: int, batch_tiles: int, tiles: int, weight: int
) -> None:
    weights = (("interactive", weight), ("batch", 1))
    engine = Engine(EnginePolicy(batch_tiles=batch_tiles, quantum_tiles=quantum, priority_weights=weights))
    share = weight if level == "priority" else 1  # tenants and jobs weigh the same
    priority, tenant = ("batch" if level == "priority" else "interactive"), ("b" if level == "tenant" else "a")
    for number in range(1 if level == "job" else 3):
        engine.add(JobShape(f"day-{number}", tiles=10_000, steps=1, tenant="a", model="day"))
    tiles = min(tiles, batch_tiles)  # a step of it fits one batch, after which none of its tiles waits
    engine.add(JobShape("night", tiles=tiles, steps=10_000, priority=priority, tenant=tenant, model="night"))
    day = night = steps = 0
    for _ in range(100):
        batch = engine.next_batch()
        for job_id in engine.complete(batch):
            engine.step_done(job_id)
        is_night = batch[0].job_id == "night"
        day, night, steps = day + len(batch) * (not is_night), night + len(batch) * is_night, steps + is_night
        assert share * night - day <= share * (batch_tiles + 2 * quantum)
        if tiles >= quantum:  # a job loses what is left of its turn when a step ends: less than a quantum
            assert day - share * (night + steps * (quantum - 1)) <= share * (batch_tiles + 2 * quantum)


@given(tiles=st.integers(2, 8), weight=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_priority_keeps_to_its_share_from_job_to_job(tiles: int, weight: int) -> None:
    weights = (("interactive", weight), ("batch", 1))
    engine = Engine(EnginePolicy(batch_tiles=8, quantum_tiles=2, priority_weights=weights))
    engine.add(JobShape("day", tiles=10_000, steps=1, model="day"))
    served = {"day": 0, "night": 0}
    for number in range(100):
        if "night" not in engine:
            engine.add(JobShape("night", tiles=tiles, steps=1, priority="batch", tenant=str(number), model="night"))
        batch = engine.next_batch()
        for job_id in engine.complete(batch):
            engine.step_done(job_id)
            engine.remove(job_id)
        served[batch[0].job_id] += len(batch)
        assert weight * served["night"] - served["day"] <= weight * (8 + 2 * 2)


@given(quantum=st.integers(1, 4), batch_tiles=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_job_with_little_to_do_gets_two_tiles_for_one_of_a_giant(quantum: int, batch_tiles: int) -> None:
    engine = Engine(EnginePolicy(batch_tiles=batch_tiles, quantum_tiles=quantum, light_tile_steps=24))
    for shape in (JobShape("giant", tiles=10_000, steps=1), JobShape("light", tiles=24, steps=1)):
        engine.add(shape)
    ran: list[TileRef] = []
    while sum(tile.job_id == "light" for tile in ran) < 24:
        ran += engine.next_batch()
        engine.complete(ran[-batch_tiles:])
    until_done = ran[: max(index for index, tile in enumerate(ran) if tile.job_id == "light") + 1]
    assert sum(tile.job_id == "giant" for tile in until_done) <= 12 + quantum
