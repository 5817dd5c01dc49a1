"""The queue on a real Redis beside a plain model of it, driven by random histories.

Laws: no job is lost, at most one live owner, commits of stale claims change nothing, deliveries are bounded, the depth
is exact, and nothing stays pending once everything is over.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from app.jobs.connection import call, connect
from app.jobs.job import PRIORITIES, JobState
from app.jobs.keys import GROUP, Keys
from app.jobs.queue import Claim, JobQueue, QueuePolicy
from tests.support.jobs import make_job

T = TypeVar("T")
LEASE_MS = 60_000  # never runs out by itself; `let_lease_run_out` makes it
MAX_DELIVERIES = 2
workers = st.sampled_from(["ada", "bob"])
picks = st.integers(0, 1000)


@dataclass
class ModelJob:
    priority: str
    state: JobState = JobState.QUEUED
    attempt: int = 0
    deliveries: int = 0
    cancel_requested: bool = False
    is_lease_over: bool = False
    claim: Claim | None = None


class QueueMachine(RuleBasedStateMachine):
    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        namespace = f"law-{uuid.uuid4().hex[:12]}"
        self.keys = Keys(namespace)
        self.redis = connect(self.url)
        policy = QueuePolicy(lease_ms=LEASE_MS, max_deliveries=MAX_DELIVERIES)
        self.queues = {name: JobQueue.from_url(self.url, namespace, policy) for name in ("ada", "bob", "api")}
        self.jobs: dict[str, ModelJob] = {}
        self.stale: list[Claim] = []

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def of_state(self, state: JobState) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.state is state]

    def running(self, pick: int) -> tuple[ModelJob, Claim]:
        job = self.of_state(JobState.RUNNING)[pick % len(self.of_state(JobState.RUNNING))]
        assert job.claim is not None
        return job, job.claim

    def settle(self, job: ModelJob, state: JobState) -> None:
        if job.claim is not None:
            self.stale.append(job.claim)
        job.claim, job.state = None, state

    @rule(priority=st.sampled_from(PRIORITIES))
    def submit(self, priority: str) -> None:
        job = make_job(priority)
        self.do(self.queues["api"].submit(job, b"photo"))
        self.jobs[job.id] = ModelJob(priority)

    @rule(worker=workers, limit=st.integers(1, 3))
    def claim(self, worker: str, limit: int) -> None:
        claims = self.do(self.queues[worker].claim(worker, limit, 0))
        assert len(claims) <= limit
        for claim in claims:
            job = self.jobs[claim.job.id]
            assert job.state is JobState.QUEUED or job.is_lease_over, "a job with a live owner was given out"
            assert not job.cancel_requested
            assert job.deliveries < MAX_DELIVERIES
            if job.claim is not None:
                self.stale.append(job.claim)
            job.state, job.claim, job.is_lease_over = JobState.RUNNING, claim, False
            job.attempt += 1
            job.deliveries += 1
            assert claim.fence == job.attempt
        for job_id, job in self.jobs.items():
            if job.is_lease_over:  # met or not, depending on the limit
                state = self.do(self.queues["api"].get(job_id)).state
                assert len(claims) == limit or state is not JobState.RUNNING, "a lapsed lease was passed over"
                if state is JobState.CANCELED:
                    assert job.cancel_requested
                elif state is JobState.FAILED:
                    assert job.deliveries == MAX_DELIVERIES
                if state is not JobState.RUNNING:
                    self.settle(job, state)
                    job.is_lease_over = False
        assert len(claims) == limit or not self.of_state(JobState.QUEUED), "a queued job was passed over"

    @precondition(lambda self: self.of_state(JobState.RUNNING))
    @rule(pick=picks)
    def renew(self, pick: int) -> None:
        job, claim = self.running(pick)
        answer = self.do(self.queues[claim.worker].renew(claim))
        assert (answer.owned, answer.cancel_requested) == (True, job.cancel_requested)
        job.is_lease_over = False

    @precondition(lambda self: self.of_state(JobState.RUNNING))
    @rule(pick=picks)
    def let_lease_run_out(self, pick: int) -> None:
        job, claim = self.running(pick)
        stream = self.keys.stream(claim.priority)
        idle = ("IDLE", 3 * LEASE_MS)
        self.do(call(self.redis, "XCLAIM", stream, GROUP, claim.worker, 0, claim.entry_id, *idle))
        job.is_lease_over = True

    @precondition(lambda self: self.of_state(JobState.RUNNING))
    @rule(pick=picks)
    def finish(self, pick: int) -> None:
        job, claim = self.running(pick)
        done = self.do(
            self.queues[claim.worker].finish(claim, b"restored", "image/png", caption=None, findings=[], steps_total=1)
        )
        assert done is not job.cancel_requested
        self.settle(job, JobState.SUCCEEDED if done else JobState.CANCELED)
        job.is_lease_over = False

    @precondition(lambda self: self.of_state(JobState.RUNNING))
    @rule(pick=picks, retryable=st.booleans())
    def fail(self, pick: int, retryable: bool) -> None:
        job, claim = self.running(pick)
        assert self.do(self.queues[claim.worker].fail(claim, "restoration_failed", "no luck", retryable))
        again = retryable and job.deliveries < MAX_DELIVERIES
        back = JobState.CANCELED if job.cancel_requested else JobState.QUEUED
        self.settle(job, back if again else JobState.FAILED)
        job.is_lease_over = False

    @precondition(lambda self: self.of_state(JobState.RUNNING))
    @rule(pick=picks)
    def hand_back(self, pick: int) -> None:
        job, claim = self.running(pick)
        assert self.do(self.queues[claim.worker].hand_back(claim))
        if not job.cancel_requested:
            job.deliveries -= 1
        self.settle(job, JobState.CANCELED if job.cancel_requested else JobState.QUEUED)
        job.is_lease_over = False

    @precondition(lambda self: self.jobs)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        job_id = sorted(self.jobs)[pick % len(self.jobs)]
        job = self.jobs[job_id]
        seen = self.do(self.queues["api"].cancel(job_id))
        if job.state is JobState.QUEUED:
            job.state = JobState.CANCELED
        elif job.state is JobState.RUNNING:
            job.cancel_requested = True
        assert seen.state is job.state

    @precondition(lambda self: self.stale)
    @rule(pick=picks)
    def commit_with_a_stale_claim(self, pick: int) -> None:
        claim = self.stale[pick % len(self.stale)]
        queue = self.queues[claim.worker]
        before = self.do(self.queues["api"].get(claim.job.id))
        assert not self.do(queue.renew(claim)).owned
        assert not self.do(queue.progress(claim, 1, 2)).owned
        self.do(queue.finish(claim, b"stale", "image/png", caption=None, findings=[], steps_total=9))
        self.do(queue.canceled(claim))
        self.do(queue.fail(claim, "stale", "stale"))
        assert self.do(self.queues["api"].get(claim.job.id)) == before

    @invariant()
    def every_job_is_where_the_model_says(self) -> None:
        for job_id, job in self.jobs.items():
            seen = self.do(call(self.redis, "HMGET", self.keys.job(job_id), "state", "attempt"))
            assert seen == [job.state.value.encode(), str(job.attempt).encode()]

    @invariant()
    def depth_and_pending_are_exact(self) -> None:
        depth = self.do(self.queues["api"].depth())
        for priority in PRIORITIES:
            mine = [job.state for job in self.jobs.values() if job.priority == priority]
            assert depth[priority] == mine.count(JobState.QUEUED)
            if self.do(call(self.redis, "EXISTS", self.keys.stream(priority))) and mine.count(JobState.RUNNING):
                pending = self.do(call(self.redis, "XPENDING", self.keys.stream(priority), GROUP))
                assert pending["pending"] == mine.count(JobState.RUNNING)

    def teardown(self) -> None:
        try:
            for job in self.of_state(JobState.RUNNING):
                assert job.claim is not None
                self.do(self.queues[job.claim.worker].hand_back(job.claim))
            while claims := self.do(self.queues["ada"].claim("ada", 10, 0)):
                for claim in claims:
                    self.do(self.queues["ada"].canceled(claim))
            for job_id in self.jobs:
                assert self.do(self.queues["api"].get(job_id)).state.is_terminal, "a job was lost"
            for priority in PRIORITIES:
                assert self.do(call(self.redis, "XLEN", self.keys.stream(priority))) == 0
        finally:
            for queue in self.queues.values():
                self.do(queue.close())
            self.do(self.redis.aclose())
            self.loop.close()


def test_no_history_breaks_the_laws_of_the_queue(redis_url: str) -> None:
    QueueMachine.url = redis_url
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
