"""Making the faults of a plan, one round after the other, and noting what each of them did."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from tests.chaos.load import Load
from tests.chaos.plan import OF_WORKERS, Fault, Plan
from tests.chaos.recovery import Happening
from tests.chaos.roles import WorkerRole, find_line
from tests.chaos.stage import Stage, eventually, is_refusal

BUSY_S = 8.0
"""Longest wait for a worker to have a job in hand before it is killed all the same."""

ROOM = 6
"""Jobs that one worker can surely have in hand, of the eight places it has."""

COMMIT_S = 30.0
"""Longest wait for a worker to commit a result."""

SETTLED_S = 30.0
"""Longest wait for what must follow a fault."""


class Saboteur:
    """Makes faults.

    Args:
        stage: The service.
        load: Those who use it.
        report: Called with a line about the progress.

    Attributes:
        happenings: All faults that were made, or could not be.
    """

    def __init__(self, stage: Stage, load: Load, report: Callable[[str], None]) -> None:
        self.happenings: list[Happening] = []
        self._stage, self._load, self._report = stage, load, report
        self._redis = stage.redis
        self._ways: dict[str, Callable[[Fault, Happening], Awaitable[None]]] = {
            "kill-worker": self._kill_worker,
            "kill-both": self._kill_both,
            "kill-api": self._kill_api,
            "kill-redis": self._kill_redis,
            "stall": self._stall,
            "freeze": self._freeze,
            "cut": self._cut,
            "hole": self._hole,
            "delay": self._delay,
            "pause-redis": self._pause_redis,
            "full-memory": self._full_memory,
            "full-disk": self._full_disk,
            "clock": self._clock,
        }

    async def make(self, plan: Plan) -> None:
        """Make all faults of a plan."""
        started_s = time.monotonic()
        for number, faults in enumerate(plan, start=1):
            await self._stage.until_ready(None if any(fault.kind in OF_WORKERS for fault in faults) else [])
            await asyncio.gather(*map(self._make_one, faults))
            named = " + ".join(fault.kind for fault in faults)
            self._report(f"[{time.monotonic() - started_s:6.1f} s] round {number}/{len(plan)}: {named}")

    async def _make_one(self, fault: Fault) -> None:
        await asyncio.sleep(fault.after_s)
        happening = Happening(fault.kind, _now_ms())
        self.happenings.append(happening)
        ended, refused = self._load.ended, self._load.refused
        try:
            await self._ways[fault.kind](fault, happening)
        except TimeoutError as error:
            happening.is_stuck, happening.remark = True, str(error)
        happening.ended_ms = _now_ms()
        if happening.is_made:
            happening.note("jobs ended meanwhile", self._load.ended - ended)
            happening.note("requests refused meanwhile", self._load.refused - refused)

    async def _until_busy(self, worker: WorkerRole) -> None:
        async def is_busy() -> bool:
            return bool(await self._stage.attempts_of(worker))

        with self._load.hungry(), contextlib.suppress(TimeoutError):
            await eventually(is_busy, BUSY_S, f"{worker.name} has a job in hand", every_s=0.005)

    async def _kill_worker(self, fault: Fault, happening: Happening) -> None:
        worker, other = self._stage.workers[fault.worker], self._stage.workers[1 - fault.worker]
        await self._until_busy(worker)
        await self._kill_at_once(happening, [worker])
        in_hand = len(happening.victims) + len(await self._stage.attempts_of(other))
        happening.had_other_worker = other.is_ready and in_hand <= ROOM
        await asyncio.gather(*(self._until_passed_on(happening, attempt.job_id) for attempt in happening.victims))

    async def _kill_both(self, fault: Fault, happening: Happening) -> None:
        await self._until_busy(self._stage.workers[fault.worker])
        await self._kill_at_once(happening, self._stage.workers)

    async def _kill_at_once(self, happening: Happening, workers: list[WorkerRole]) -> None:
        held = [(worker.pid, worker) for worker in workers]
        for worker in workers:
            worker.freeze()  # so that what is read next is what it leaves behind
        happening.began_ms = _now_ms()
        for _, worker in held:
            happening.victims += await self._stage.attempts_of(worker)
        for worker in workers:
            worker.kill()
            worker.start()
        happening.note("jobs in hand", len(happening.victims))

    async def _until_passed_on(self, happening: Happening, job_id: str) -> None:
        attempt = next(attempt for attempt in happening.victims if attempt.job_id == job_id)

        async def has_passed_on() -> bool:
            return await self._stage.has_passed_on(attempt)

        await eventually(has_passed_on, SETTLED_S, f"another worker has job {job_id} after {happening.kind}")

    async def _kill_api(self, fault: Fault, happening: Happening) -> None:
        happening.note("open requests", self._load.under_way)
        self._stage.api.kill()
        self._stage.api.start()
        await eventually(self._stage.is_api_there, SETTLED_S, "the API answers again")

    async def _kill_redis(self, fault: Fault, happening: Happening) -> None:
        self._redis.kill()
        await self._redis.start()

    async def _pause_redis(self, fault: Fault, happening: Happening) -> None:
        self._redis.freeze()
        await asyncio.sleep(fault.for_s)
        self._redis.thaw()

    async def _stall(self, fault: Fault, happening: Happening) -> None:
        with self._load.hungry():
            caught = await self._stage.catch_commit(COMMIT_S, exclude=self._load.is_canceled)
        if caught is None:
            happening.is_made, happening.remark = False, "no result was committed"
            return
        worker, attempt = caught
        happening.began_ms = _now_ms()
        happening.had_other_worker = True

        async def has_passed_on() -> bool:
            return await self._stage.has_passed_on(attempt)

        try:
            await eventually(has_passed_on, SETTLED_S, f"another worker has job {attempt.job_id} after a stall")
            await asyncio.sleep(fault.for_s)
        finally:
            happening.note("stalled for s", round((_now_ms() - happening.began_ms) / 1000, 3))
            worker.thaw()

        async def is_refused() -> bool:
            return find_line([worker.log], lambda line: is_refusal(line, attempt.job_id))

        try:
            await eventually(is_refused, SETTLED_S, "the late commit is refused")
            happening.is_refused = True
            happening.note("late commits refused")
        except TimeoutError:
            happening.is_refused, happening.remark = False, f"job {attempt.job_id}: its late commit was not refused"

    async def _freeze(self, fault: Fault, happening: Happening) -> None:
        worker = self._stage.workers[fault.worker]
        await self._until_busy(worker)
        worker.freeze()
        happening.note("jobs in hand", len(await self._stage.attempts_of(worker)))
        await asyncio.sleep(fault.for_s)
        worker.thaw()

    async def _cut(self, fault: Fault, happening: Happening) -> None:
        proxy = self._stage.proxies[fault.worker]
        await self._until_busy(self._stage.workers[fault.worker])
        happening.note("connections broken", proxy.cut())
        await asyncio.sleep(fault.for_s)
        proxy.heal()

    async def _hole(self, fault: Fault, happening: Happening) -> None:
        proxy = self._stage.proxies[fault.worker]
        await self._until_busy(self._stage.workers[fault.worker])
        proxy.hold()
        await asyncio.sleep(fault.for_s)
        proxy.heal()

    async def _delay(self, fault: Fault, happening: Happening) -> None:
        proxy = self._stage.proxies[fault.worker]
        proxy.delay_s = fault.amount / 1000
        await asyncio.sleep(fault.for_s)
        proxy.heal()

    async def _full_memory(self, fault: Fault, happening: Happening) -> None:
        await self._redis.ask("CONFIG", "SET", "maxmemory", 1)
        with self._load.hungry():
            await asyncio.sleep(fault.for_s)
        await self._redis.ask("CONFIG", "SET", "maxmemory", 0)

    async def _full_disk(self, fault: Fault, happening: Happening) -> None:
        if self._redis.no_disk:
            happening.is_made, happening.remark = False, self._redis.no_disk
            return
        if fault.way == "refuses":
            await self._redis.ask("CONFIG", "SET", "appendfsync", "everysec")  # under "always" it ends itself
        self._redis.fill_disk()
        with self._load.hungry():
            await asyncio.sleep(fault.for_s)
        happening.note("Redis ended itself", 0 if self._redis.is_alive else 1)
        happening.note("Redis refused writes", int(await self._write_status() == "err"))
        self._redis.free_disk()
        if not self._redis.is_alive:
            await self._redis.start()
        await eventually(self._writes_again, SETTLED_S, "Redis writes its AOF again")
        if fault.way == "refuses":
            await self._redis.ask("CONFIG", "SET", "appendfsync", self._redis.fsync)

    async def _writes_again(self) -> bool:
        return await self._write_status() == "ok"

    async def _write_status(self) -> str:
        info = await self._redis.ask("INFO", "persistence")
        return str(info["aof_last_write_status"]) if info else ""

    async def _clock(self, fault: Fault, happening: Happening) -> None:
        if self._redis.no_clock:
            happening.is_made, happening.remark = False, self._redis.no_clock
            return
        self._redis.set_clock(fault.amount)
        await asyncio.sleep(fault.for_s)
        seen = await self._redis.ask("TIME")
        jumped_s = 0.0 if seen is None else int(seen[0]) - time.time()
        happening.note("jumped by s", round(abs(jumped_s)))
        self._redis.set_clock(0.0)


def _now_ms() -> float:
    return time.time() * 1000
