"""The world of a history: real scripts on a real Redis, processes, the model, and what must hold after each step."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

import redis as sync_redis
from hypothesis.stateful import RuleBasedStateMachine, invariant

from app.jobs.job import PRIORITIES, Job, JobState
from app.jobs.keys import Keys
from app.jobs.queue import Claim, JobQueue
from tests.property.queue_history import RESTORED, History, LawBrokenError
from tests.property.queue_laws import LAST_LAWS, LAWS, check_laws
from tests.property.queue_model import STEP_S, QueueModel
from tests.property.queue_stage import NAMES, POLICY, Process, Stage
from tests.property.queue_view import QueueView, read_view

T = TypeVar("T")
KEPT_STALE = 12
DRAIN_ROUNDS = 20


class QueueWorld(RuleBasedStateMachine):
    """Base of the rules: what there is, and what must hold after each of them."""

    stage: ClassVar[Stage]

    def __init__(self) -> None:
        super().__init__()
        self.stage.examples += 1
        self.loop = asyncio.new_event_loop()
        self.namespace = f"law-{uuid.uuid4().hex[:12]}"
        self.keys = Keys(self.namespace)
        self.redis: Any = sync_redis.Redis.from_url(self.stage.url, decode_responses=True, protocol=2)
        self.model = QueueModel()
        version = self.redis.info("server")["redis_version"]
        self.history = History(has_lag=int(version.split(".")[0]) >= 7)
        self.sent: dict[str, Job] = {}
        self.stale: list[Claim] = []
        self.names_used = 0
        self.is_broken = False
        self.api = self.open_queue()
        self.processes = [Process(name, self.open_queue()) for name in NAMES]
        self.view = read_view(self.redis, self.keys)

    def open_queue(self) -> JobQueue:
        queue = JobQueue.from_url(self.stage.url, self.namespace, POLICY)
        self.stage.alter(queue)
        return queue

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def look(self) -> QueueView:
        self.view = read_view(self.redis, self.keys)
        return self.view

    def of_state(self, *states: JobState) -> list[str]:
        return self.model.of_state(*states)

    def held(self) -> list[tuple[str, Process]]:
        """Running jobs whose process works on them, with it."""
        by_owner = {process.owner: process for process in self.processes}
        found = []
        for job_id in self.of_state(JobState.RUNNING):
            job = self.model.jobs[job_id]
            process = by_owner.get(job.owner)
            if process is not None and job.claim is not None and job.claim.entry_id in process.held:
                found.append((job_id, process))
        return found

    def pick_held(self, pick: int) -> tuple[str, Process, Claim]:
        found = self.held()
        job_id, process = found[pick % len(found)]
        claim = self.model.jobs[job_id].claim
        assert claim is not None
        return job_id, process, claim

    def queue_of(self, claim: Claim) -> JobQueue:
        """The queue of the process that was given a claim; any other sends the late words of a dead one."""
        alive = [process.queue for process in self.processes if process.owner == claim.owner]
        return alive[0] if alive else self.api

    def note_release(self, claim: Claim) -> None:
        """Follow what a process does with its claim once it has settled it, or was told that it has it no more."""
        for process in self.processes:
            if process.owner == claim.owner:
                process.held.discard(claim.entry_id)

    def let_go(self, *claims: Claim | None) -> None:
        """Keep claims that do not count any more, for those who use them all the same."""
        self.stale = [*self.stale, *(claim for claim in claims if claim is not None)][-KEPT_STALE:]

    def settle(self, job_id: str, process: Process, follow: Callable[[], None]) -> None:
        """Follow a running job out of the hands of its process."""
        claim = self.model.jobs[job_id].claim
        assert claim is not None
        process.held.discard(claim.entry_id)
        follow()
        self.let_go(claim)

    def restored(self, job_id: str) -> bytes:
        return f"photo {job_id}{RESTORED}".encode()

    def claim(self, process: Process, limit: int, wanted: tuple[str, ...] = PRIORITIES) -> list[Claim]:
        assert process.queue._claimer._held.get(process.name, set()) == process.held
        claims = self.do(process.queue.claim(process.name, limit, 0, wanted))
        self.follow_claim(process, limit, wanted, claims)
        process.held |= {claim.entry_id for claim in claims}
        return claims

    def follow_claim(self, process: Process, limit: int, wanted: tuple[str, ...], given: list[Claim]) -> None:
        tries = 1 + any(stream.last_delivered is None for stream in self.view.streams.values())
        view = self.look()
        seen = {job_id: job.state for job_id, job in view.jobs.items()}
        self.let_go(*self.model.check_claim(process.owner, process.held, limit, wanted, tries, given, seen))
        self.model.note_reading({priority: stream.undelivered for priority, stream in view.streams.items()})

    @invariant()
    def laws_hold(self) -> None:
        try:
            self.check()
        except BaseException:
            self.is_broken = True
            raise

    def check(self) -> None:
        view = self.look()
        expected, found = {}, {}
        for job_id, job in self.model.jobs.items():
            owner = job.owner if job.state is JobState.RUNNING else None
            expected[job_id] = (job.state, job.fence, job.deliveries, job.cancel_requested, owner)
        for job_id, seen in view.jobs.items():
            asked = seen.fields.get("cancel_requested") == "1"
            counts = (seen.state, seen.attempt, int(seen.fields["deliveries"]), asked, seen.fields.get("owner"))
            found[job_id] = counts
        if found != expected:
            odd = {job_id: (found.get(job_id), expected.get(job_id)) for job_id in {*found, *expected}}
            odd = {job_id: pair for job_id, pair in odd.items() if pair[0] != pair[1]}
            raise LawBrokenError("records_are_what_the_model_says", f"found and expected are {odd}")
        check_laws(LAWS, view, self.history)
        self.history.remember(view)

    def teardown(self) -> None:
        try:
            if not self.is_broken:
                self.work_everything_off()
        finally:
            for queue in [self.api, *(process.queue for process in self.processes)]:
                self.do(queue.close())
            self.redis.flushdb()
            self.redis.close()
            self.loop.close()

    def work_everything_off(self) -> None:
        """Let all leases run out, and a fresh worker finish whatever there is."""
        last_s = max([self.model.now_s, *(job.leased_s for job in self.model.jobs.values())])
        self.move_clock(last_s - self.model.now_s + 5 * STEP_S)
        last = Process("zoe", self.open_queue())
        self.processes.append(last)
        for _ in range(DRAIN_ROUNDS):
            claims = self.claim(last, 10)
            self.check()
            if not claims:
                check_laws(LAST_LAWS, self.view, self.history)
                return
            for claim in claims:
                self.finish_claim(claim.job_id, last, claim)
            self.check()
        raise LawBrokenError("nothing_is_pending_at_the_end", f"claims still give jobs after {DRAIN_ROUNDS} rounds")

    def move_clock(self, seconds: int) -> None:
        self.stage.clock.move(seconds, self.redis, self.keys)
        self.model.let_time_pass(seconds)

    def finish_claim(self, job_id: str, process: Process, claim: Claim) -> None:
        image = claim.image + RESTORED.encode()
        given = {"caption": None, "findings": (), "steps_total": 1}
        done = self.do(process.queue.finish(claim, image, "image/png", **given))  # type: ignore[arg-type]
        is_canceled = self.model.jobs[job_id].cancel_requested
        if done is is_canceled:
            raise LawBrokenError("canceled_never_succeeds", f"finishing {job_id} gave {done}")
        end = JobState.CANCELED if is_canceled else JobState.SUCCEEDED
        self.history.orphans.discard((job_id, claim.fence))
        self.settle(job_id, process, lambda: self.model.end(job_id, end))
