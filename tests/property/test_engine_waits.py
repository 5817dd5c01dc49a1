"""How long a job can be kept waiting: a bound that follows from quantum, weights, batch and the number of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

import hypothesis.strategies as st
from hypothesis import given, settings

from app.worker.engine import Engine, EnginePolicy, JobShape, TileRef

ENDLESS = 10**6
WEIGHTS = (("interactive", 3), ("batch", 1))
POLICIES = st.builds(
    EnginePolicy,
    batch_tiles=st.integers(1, 6),
    quantum_tiles=st.integers(1, 3),
    priority_weights=st.just(WEIGHTS),
)


def mixes(models: Sequence[str], most_jobs: int) -> st.SearchStrategy[list[JobShape]]:
    """Jobs that never end."""
    shapes = st.builds(
        JobShape,
        job_id=st.just(""),
        tiles=st.sampled_from([1, 2, 5, 30]),
        steps=st.just(ENDLESS),
        priority=st.sampled_from(["interactive", "batch"]),
        tenant=st.sampled_from(["a", "b"]),
        model=st.sampled_from(models),
    )
    return st.lists(shapes, min_size=1, max_size=most_jobs).map(
        lambda found: [replace(shape, job_id=f"job-{number}") for number, shape in enumerate(found)]
    )


def run(engine: Engine, batches: int) -> Iterator[list[TileRef]]:
    """Batches one by one; every job has tiles waiting before each."""
    for _ in range(batches):
        batch = engine.next_batch()
        yield batch
        for job_id in engine.complete(batch):
            engine.step_done(job_id)


def others(shape: JobShape, shapes: Sequence[JobShape]) -> tuple[int, int, int]:
    """How many jobs of its tenant, tenants of its priority and weights of other priorities a job shares with."""
    weights = dict(WEIGHTS)
    priority = [other for other in shapes if other.priority == shape.priority]
    jobs = sum(other.tenant == shape.tenant for other in priority) - 1
    tenants = len({other.tenant for other in priority}) - 1
    return jobs, tenants, sum(weights[name] for name in {other.priority for other in shapes} - {shape.priority})


def most_tiles(shape: JobShape, shapes: Sequence[JobShape], quantum: int) -> int:
    """Tiles of others before the next one of a job, all for one model: a turn of everybody, level by level."""
    jobs, tenants, weights = others(shape, shapes)
    of_tenant = jobs * quantum
    of_priority = of_tenant + ceil((of_tenant + 1) / quantum) * tenants * quantum
    turns = ceil((of_priority + 1) / (quantum * dict(WEIGHTS)[shape.priority]))
    return of_priority + turns * weights * quantum


def most_batches(shape: JobShape, shapes: Sequence[JobShape], policy: EnginePolicy) -> int:
    """Batches without a job of any model: at each level it may have to pay for a whole batch first, turn by turn.

    Every batch takes at least one tile from whose turn it is, so turns are counted in batches.
    """
    jobs, tenants, weights = others(shape, shapes)
    quantum, weight = policy.quantum_tiles, dict(WEIGHTS)[shape.priority]
    light, heavy = (policy.batch_tiles // (quantum * share) + 1 for share in (1, weight))
    of_tenant = light * jobs * quantum + 1
    of_priority = of_tenant * (light * tenants * quantum + 1)
    return of_priority * (heavy * weights * quantum + 1)


@given(shapes=mixes(["day"], 7), policy=POLICIES)
@settings(max_examples=60, deadline=None)
def test_no_job_waits_for_more_than_a_turn_of_every_other(shapes: list[JobShape], policy: EnginePolicy) -> None:
    engine = Engine(policy)
    for shape in shapes:
        engine.add(shape)
    bounds = {shape.job_id: most_tiles(shape, shapes, policy.quantum_tiles) for shape in shapes}
    waited = dict.fromkeys(bounds, 0)
    for batch in run(engine, 80):
        left = {shape.job_id: engine.status(shape.job_id).tiles_left % shape.tiles for shape in shapes}
        taken = dict.fromkeys(bounds, 0)
        for tile in batch:
            taken[tile.job_id] += 1
            for shape in shapes:
                job_id = shape.job_id
                is_waiting = taken[job_id] < (left[job_id] or shape.tiles)
                waited[job_id] = waited[job_id] + 1 if is_waiting and tile.job_id != job_id else 0
                assert waited[job_id] <= bounds[job_id]


@given(shapes=mixes(["day", "night", "dusk"], 5), policy=POLICIES)
@settings(max_examples=60, deadline=None)
def test_no_job_of_any_model_is_left_out_of_too_many_batches(shapes: list[JobShape], policy: EnginePolicy) -> None:
    engine = Engine(policy)
    for shape in shapes:
        engine.add(shape)
    waited = {shape.job_id: 0 for shape in shapes}
    for batch in run(engine, 300):
        served = {tile.job_id for tile in batch}
        for shape in shapes:
            waited[shape.job_id] = 0 if shape.job_id in served else waited[shape.job_id] + 1
            assert waited[shape.job_id] <= most_batches(shape, shapes, policy)


@given(policy=POLICIES, idle=st.integers(0, 300), level=st.sampled_from(["job", "tenant"]))
@settings(max_examples=60, deadline=None)
def test_filling_places_that_nobody_wanted_is_not_held_against_a_job_for_ever(
    policy: EnginePolicy, idle: int, level: str
) -> None:
    def shape(name: str, tiles: int, model: str) -> JobShape:
        return JobShape(name, tiles, ENDLESS, tenant=name if level == "tenant" else "all", model=model)

    engine = Engine(policy)
    for first in (shape("a", 1, "day"), shape("b", 1, "night"), shape("filler", 500, "day")):
        engine.add(first)
    for _ in run(engine, idle):  # batches of "a" have room, which the filler takes
        pass
    crowd = [shape("filler", 500, "day"), shape("day", 500, "day"), shape("night", 500, "night")]
    for late in crowd[1:]:
        engine.add(late)
    for name in ("a", "b"):
        engine.remove(name)
    waited = 0
    for batch in run(engine, 200):
        waited = 0 if any(tile.job_id == "filler" for tile in batch) else waited + 1
        # however long the idle time was
        assert waited <= (policy.batch_tiles // policy.quantum_tiles + 1) * 2 * policy.quantum_tiles + 1


@given(policy=POLICIES)
@settings(max_examples=30, deadline=None)
def test_tenant_gets_turns_though_it_is_served_out_of_turn_all_the_time(policy: EnginePolicy) -> None:
    engine = Engine(policy)
    shapes = [
        JobShape("opener", 1, ENDLESS, tenant="a", model="day"),
        JobShape("filler", 500, ENDLESS, tenant="b", model="day"),  # in every batch that the opener begins
        JobShape("rare", 1, ENDLESS, tenant="b", model="night"),  # begins a batch only in a turn of its tenant
        JobShape("third", 1, ENDLESS, tenant="c", model="dusk"),  # turns pass only when it has had its own
    ]
    for shape in shapes:
        engine.add(shape)
    waited = 0
    for batch in run(engine, 300):
        waited = 0 if batch[0].job_id == "rare" else waited + 1
        assert waited <= most_batches(shapes[2], shapes, policy)


@given(
    shapes=mixes(["day", "night"], 6),
    policy=POLICIES,
    names=st.permutations([f"job-{number}" for number in range(6)]),
    swapped=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_names_do_not_matter(shapes: list[JobShape], policy: EnginePolicy, names: list[str], swapped: bool) -> None:
    """Other ids, tenants and models in the same calls give the same schedule under the other names."""
    new_ids = {f"job-{number}": name for number, name in enumerate(names)}
    new_words = {"a": "b", "b": "a", "day": "night", "night": "day"} if swapped else {}
    plain, renamed = Engine(policy), Engine(policy)
    for shape in shapes:
        plain.add(shape)
        renamed.add(
            replace(
                shape,
                job_id=new_ids[shape.job_id],
                tenant=new_words.get(shape.tenant, shape.tenant),
                model=new_words.get(shape.model, shape.model),
            )
        )
    for first, second in zip(run(plain, 60), run(renamed, 60), strict=True):
        assert [replace(tile, job_id=new_ids[tile.job_id]) for tile in first] == second
