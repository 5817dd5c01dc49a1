"""What goes wrong around a queue, as rules: lost processes, time, deleted groups, a Redis that forgets."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import redis as sync_redis
from hypothesis import strategies as st

from app.jobs.job import JobState
from app.jobs.keys import GROUP
from app.jobs.queue import Claim
from tests.property.queue_history import RESTORED, History
from tests.property.queue_model import LEASE_S, STEP_S, QueueModel
from tests.property.queue_stage import POLICY, Process, picks, step, workers
from tests.property.queue_world import QueueWorld

FAULTS = (
    "time_passes",
    "time_passes",
    "clock_is_put_back",
    "crash",
    "retire",
    "announce",
    "delete_group",
    "delete_stream",
    "save",
    "crash_redis",
    "forget_a_claim",
)


@dataclass
class Memory:
    """What is on the disk of Redis: its keys with their ends (server clock, milliseconds), and what was true then."""

    keys: dict[bytes, tuple[bytes, int]]
    model: QueueModel
    history: History


class FaultRules(QueueWorld):
    """Crashes, stalls, clocks and deletions."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: Memory | None = None
        self.bytes_redis: Any = sync_redis.Redis.from_url(self.stage.url, protocol=2)

    @step(worker=workers, keeps_name=st.booleans(), pick=picks, fault=st.sampled_from(FAULTS))
    def meet(self, worker: int, keeps_name: bool, pick: int, fault: str) -> None:
        """One of the rare ones; as rules of their own they would leave jobs no time to run."""
        if self.held() and pick % 4:  # it is for workers with jobs that these are interesting
            worker = self.processes.index(self.pick_held(pick)[1])
        if fault == "crash":
            self.crash(worker, keeps_name)
        elif fault == "retire":
            self.retire(worker, keeps_name)
        elif fault == "announce":
            self.announce(worker, 1 + pick % 4)
        elif fault == "time_passes":
            self.move_clock((1 + pick % 5) * STEP_S)
        elif fault == "clock_is_put_back" and self.stage.clock.goes_back:
            self.move_clock(-(1 + pick % 3) * STEP_S)
        elif fault == "delete_group" and self.groups():
            self.delete_group(self.groups()[pick % len(self.groups())])
        elif fault == "delete_stream" and self.unused_streams():
            self.redis.delete(self.keys.stream(self.unused_streams()[0]))
        elif fault == "save":
            self.save()
        elif fault == "crash_redis" and self.memory is not None:
            self.crash_redis(self.memory)
        elif fault == "forget_a_claim":
            self.forget_a_claim(self.processes[worker], self.processes[worker - 1])
        else:
            return
        self.stage.rules[fault] += 1

    def crash(self, worker: int, keeps_name: bool) -> None:
        """A worker's process dies and comes back, as a new instance, under its old name or a new one."""
        self.replace(worker, keeps_name)

    @step(lambda world: world.held(), pick=picks, keeps_name=st.booleans())
    def crash_before_the_commit(self, pick: int, keeps_name: bool) -> None:
        job_id, process, claim = self.pick_held(pick)
        result = claim.image + RESTORED.encode()
        self.do(process.queue._blobs.put(self.keys.result(job_id, claim.fence), result, POLICY.result_ttl_s))
        self.history.orphans.add((job_id, claim.fence))
        self.replace(self.processes.index(process), keeps_name)

    def retire(self, worker: int, keeps_name: bool) -> None:
        process = self.processes[worker]
        self.do(process.queue.retire(process.name))
        for job_id in self.of_state(JobState.RUNNING):
            job = self.model.jobs[job_id]
            if job.worker == process.name and job.has_row:
                self.let_go(job.claim)
                self.model.requeue(job_id, counts=False)
        self.replace(worker, keeps_name)

    def replace(self, worker: int, keeps_name: bool) -> None:
        old = self.processes[worker]
        self.do(old.queue.close())
        self.names_used += 1
        name = old.name if keeps_name else f"{old.name.partition('-')[0]}-{self.names_used}"
        self.processes[worker] = Process(name, self.open_queue())

    def announce(self, worker: int, lasts: int) -> None:
        """Give a sign of life, which makes the queue forget consumers that have long been silent."""
        process = self.processes[worker]
        self.do(process.queue.announce(process.name, True, "tiny", 1000 * STEP_S * lasts))

    @step(lambda world: world.of_state(JobState.RUNNING), pick=picks)
    def stall(self, pick: int) -> None:
        """A worker stands still for so long that one of its leases runs out, and believes that it still has it."""
        running = self.of_state(JobState.RUNNING)
        job = self.model.jobs[running[pick % len(running)]]
        if job.has_row and job.claim is not None:
            stream, entry = self.keys.stream(job.priority), job.claim.entry_id
            self.redis.xclaim(stream, GROUP, job.worker, 0, [entry], idle=3000 * LEASE_S, justid=True)
            job.leased_s = self.model.now_s - 3 * LEASE_S

    def delete_group(self, priority: str) -> None:
        self.redis.xgroup_destroy(self.keys.stream(priority), GROUP)
        self.model.lose_groups(priority)

    def groups(self) -> list[str]:
        return [priority for priority, stream in self.view.streams.items() if stream.last_delivered is not None]

    def unused_streams(self) -> list[str]:
        """Streams that no job needs; nothing puts back what was in a stream."""
        needed = self.of_state(JobState.QUEUED, JobState.RUNNING)
        used = {self.model.jobs[job_id].priority for job_id in needed}
        return [priority for priority in self.groups() if priority not in used]

    def save(self) -> None:
        """From here on Redis may forget: its disk has what is there now."""
        seconds, micros = self.bytes_redis.time()
        now_ms = 1000 * seconds + micros // 1000
        names = self.bytes_redis.keys(f"{self.keys.prefix}*")
        kept = {}
        for name in names:
            left_ms = self.bytes_redis.pttl(name)
            kept[name] = (self.bytes_redis.dump(name), now_ms + left_ms if left_ms >= 0 else 0)
        self.memory = Memory(kept, copy.deepcopy(self.model), copy.deepcopy(self.history))

    def crash_redis(self, memory: Memory) -> None:
        """Redis comes back with what its disk has; workers go on with what they know."""
        self.bytes_redis.flushdb()
        for name, (data, ends_ms) in memory.keys.items():
            self.bytes_redis.restore(name, ends_ms, data, absttl=ends_ms > 0)
        known = [*self.stale, *self.claims()]
        now_s = self.model.now_s
        self.model, self.history = copy.deepcopy(memory.model), copy.deepcopy(memory.history)
        self.model.let_time_pass(now_s - self.model.now_s)
        good = {(claim.job_id, claim.fence, claim.entry_id, claim.owner) for claim in self.claims()}
        self.stale = []
        self.let_go(*(c for c in known if (c.job_id, c.fence, c.entry_id, c.owner) not in good))

    def forget_a_claim(self, first: Process, second: Process) -> None:
        """Redis crashes right after a claim, and another worker gets what the first one has."""
        self.save()
        assert self.memory is not None
        self.claim(first, 1)
        self.crash_redis(self.memory)
        self.look()
        self.claim(second, 1)

    def claims(self) -> list[Claim]:
        return [job.claim for job in self.model.jobs.values() if job.claim is not None]

    def move_clock(self, seconds: int) -> None:
        super().move_clock(seconds)
        if not self.stage.clock.goes_back:  # it moves what is in Redis, which is not on its disk
            self.memory = None

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.bytes_redis.close()
