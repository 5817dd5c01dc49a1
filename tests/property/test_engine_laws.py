"""The engine against a plain model: whatever the order of calls, every tile runs once and no slot stays idle."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from app.worker.engine import Engine, EnginePolicy, JobShape, TileRef

MAX_STATE_BYTES = 100


@dataclass
class ModelJob:
    """What a job must be, written as sets of tiles."""

    shape: JobShape
    step: int
    waiting: set[int]
    running: set[int]
    ran: set[tuple[int, int]]


class EngineMachine(RuleBasedStateMachine):
    """Random calls on the engine, several batches in flight at once."""

    batches: Bundle[list[TileRef]] = Bundle("batches")

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(EnginePolicy(batch_tiles=4, quantum_tiles=2, max_state_bytes=MAX_STATE_BYTES), lambda: 0.0)
        self.jobs: dict[str, ModelJob] = {}
        self.batch_tiles = 4
        self.night_tiles: int | None = None
        self.count = 0

    @rule(
        tiles=st.integers(1, 9),
        steps=st.integers(1, 3),
        priority=st.sampled_from(["interactive", "batch", "unnamed"]),
        tenant=st.sampled_from(["a", "b"]),
        state_bytes=st.integers(0, 150),
        model=st.sampled_from(["", "night"]),
    )
    def add(self, tiles: int, steps: int, priority: str, tenant: str, state_bytes: int, model: str) -> None:
        held = sum(job.shape.state_bytes for job in self.jobs.values())
        fits = not self.jobs or held + state_bytes <= MAX_STATE_BYTES
        assert self.engine.can_admit(state_bytes) == fits
        if not fits:
            return
        self.count += 1
        shape = JobShape(f"job-{self.count}", tiles, steps, priority, tenant, state_bytes, model)
        self.engine.add(shape)
        self.jobs[shape.job_id] = ModelJob(shape, 0, set(range(tiles)), set(), set())

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        assert self.engine.remove(job_id)
        assert not self.engine.remove(job_id)
        del self.jobs[job_id]

    @rule(batch_tiles=st.integers(1, 6), model=st.sampled_from([None, "night"]))
    def limit_batch(self, batch_tiles: int, model: str | None) -> None:
        self.engine.limit_batch(batch_tiles, model)
        if model is None:
            self.batch_tiles = batch_tiles
        else:
            self.night_tiles = batch_tiles

    @rule(target=batches)
    def next_batch(self) -> list[TileRef]:
        batch = self.engine.next_batch()
        models = {self.jobs[tile.job_id].shape.model for tile in batch}
        if not models:
            assert not any(job.waiting for job in self.jobs.values()), "nothing runs while tiles wait"
            return batch
        (model,) = models  # never two in a batch
        available = sum(len(job.waiting) for job in self.jobs.values() if job.shape.model == model)
        most = self.night_tiles or self.batch_tiles if model == "night" else self.batch_tiles
        assert len(batch) == min(most, available), "a slot stayed idle while a tile waited"
        for tile in batch:
            job = self.jobs[tile.job_id]
            assert tile.step == job.step
            job.waiting.remove(tile.tile_index)  # KeyError: handed out twice
            job.running.add(tile.tile_index)
        return batch

    @rule(batch=consumes(batches))
    def complete(self, batch: list[TileRef]) -> None:
        ended = self.engine.complete(batch)
        for tile in batch:
            job = self.jobs.get(tile.job_id)
            if job is not None:
                job.running.remove(tile.tile_index)
                assert (tile.step, tile.tile_index) not in job.ran
                job.ran.add((tile.step, tile.tile_index))
        touched = {tile.job_id for tile in batch} & self.jobs.keys()
        assert sorted(ended) == sorted(name for name in touched if self._is_step_complete(self.jobs[name]))
        for job_id in ended:
            self._end_step(self.jobs[job_id])

    @invariant()
    def memory_is_that_of_admitted_jobs(self) -> None:
        assert self.engine.state_bytes == sum(job.shape.state_bytes for job in self.jobs.values())
        assert len(self.engine) == len(self.jobs)

    @invariant()
    def status_counts_the_tiles_left(self) -> None:
        for job_id, job in self.jobs.items():
            assert self.engine.status(job_id).tiles_left == job.shape.tiles * job.shape.steps - len(job.ran)

    def teardown(self) -> None:
        """Whatever happened before, the rest runs to its end."""
        stuck = {name for name, job in self.jobs.items() if job.running}
        for name in stuck:
            self.engine.remove(name)
            del self.jobs[name]
        while batch := self.next_batch():
            self.complete(batch)
        assert not self.jobs, "a job was starved"

    @staticmethod
    def _is_step_complete(job: ModelJob) -> bool:
        return not job.waiting and not job.running

    def _end_step(self, job: ModelJob) -> None:
        finished = self.engine.step_done(job.shape.job_id)
        job.step += 1
        assert finished == (job.step == job.shape.steps)
        if not finished:
            job.waiting = set(range(job.shape.tiles))
            return
        assert len(job.ran) == job.shape.tiles * job.shape.steps
        assert self.engine.remove(job.shape.job_id)
        del self.jobs[job.shape.job_id]


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
