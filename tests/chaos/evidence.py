"""What is there after a run: every job as the service and its Redis know it, and all that should not be there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from app.jobs.job import PRIORITIES
from app.jobs.keys import GROUP
from tests.chaos.load import Accepted, Load
from tests.chaos.orders import Wish
from tests.chaos.recovery import Happening
from tests.chaos.stage import KEYS, Stage


@dataclass(frozen=True)
class Noted:
    """An event of a job as Redis has it."""

    type: str
    data: dict[str, Any]


@dataclass
class JobEvidence:
    """One job.

    Attributes:
        id: The job.
        order: Number of its order.
        accepted: What its caller knows; None when no caller was told of it.
        state: As Redis has it; empty when Redis has no such job.
        attempt: Number of its latest attempt.
        error_code: Of one that failed.
        events: In order.
        results: Fences under which results are stored, and whether each goes by itself after its time.
        digest: SHA-256 of its result, fetched once more at the end.
    """

    id: str
    order: int
    accepted: Accepted | None
    state: str = ""
    attempt: int = 0
    error_code: str = ""
    events: list[Noted] = field(default_factory=list)
    results: dict[int, bool] = field(default_factory=dict)
    digest: str = ""

    @property
    def attempts(self) -> list[tuple[int, float]]:
        """Fence of each attempt, and when it began."""
        began = [noted.data for noted in self.events if noted.type == "state" and noted.data["state"] == "running"]
        return [(int(data["attempt"]), float(data["at_ms"])) for data in began if "cancel_requested" not in data]


@dataclass
class Evidence:
    """Everything that laws look at.

    Attributes:
        jobs: By id.
        orders: Number of photos of every order that was sent.
        unanswered: Orders without a key that got no answer.
        right: SHA-256 of the right result of each wish.
        complaints: Of callers.
        queue: Counts of what should be empty, by name.
        uploads: Photos that are still stored: the job's id, and whether they go by themselves.
        happenings: All faults.
        deaths: Processes that ended although nobody ended them.
        tracebacks: Errors in logs that nobody foresaw.
        lease_s: Lease of the workers.
        may_forget: Redis was killed without having to write everything down at once: jobs may be missing.
    """

    jobs: dict[str, JobEvidence]
    orders: dict[int, int]
    unanswered: set[int]
    right: dict[Wish, str]
    complaints: list[str]
    queue: dict[str, int]
    uploads: dict[str, bool]
    happenings: list[Happening]
    deaths: list[str]
    tracebacks: list[str]
    lease_s: float
    may_forget: bool = False


async def queue_left(stage: Stage) -> dict[str, int]:
    """Counts of what is empty once everything has ended."""
    found = {"entries of batches that wait": 0}
    for priority in PRIORITIES:
        stream = KEYS.stream(priority)
        pending = await stage.redis.ask("XPENDING", stream, GROUP)
        found[f"pending {priority}"] = int(pending["pending"]) if pending else 0
        found[f"stream {priority}"] = int(await stage.redis.ask("XLEN", stream) or 0)
        found[f"depth {priority}"] = int(await stage.redis.ask("ZCARD", KEYS.queued(priority)) or 0)
    for name in (KEYS.feed, f"{KEYS.feed}:stored"):
        found["entries of batches that wait"] += int(await stage.redis.ask("ZCARD", name) or 0)
    return found


async def gather(stage: Stage, load: Load, happenings: list[Happening]) -> Evidence:
    """Look at everything; Redis and the API must be there."""
    accepted, jobs = load.ledger.accepted, {}
    for job_id, order in await load.listed():
        jobs[job_id] = JobEvidence(job_id, order, accepted.get(job_id))
    for job_id, known in accepted.items():
        jobs.setdefault(job_id, JobEvidence(job_id, known.order, known))
    for job in jobs.values():
        await _look_at(stage, job)
        if job.state == "succeeded":
            job.digest = await load.fetch(job.id)
    control, prefix = stage.redis.control, KEYS.image("")
    uploads = {}
    async for name in control.scan_iter(match=f"{prefix}*", count=1000):
        uploads[name.decode().removeprefix(prefix)] = await control.pttl(name) > 0
    async for name in control.scan_iter(match=f"{KEYS.result('', 0)[:-2]}*", count=1000):
        job_id, fence = name.decode().rsplit(":", 2)[-2:]
        if job_id in jobs:
            jobs[job_id].results[int(fence)] = await control.pttl(name) > 0
    logs = [log for role in stage.roles for log in role.logs]
    return Evidence(
        jobs,
        dict(load.ledger.orders),
        set(load.ledger.unanswered),
        load.right,
        list(load.ledger.complaints),
        await queue_left(stage),
        uploads,
        happenings,
        [death for role in stage.roles for death in role.deaths],
        [f"{log.name}: {line[:600]}" for log in logs for line in _errors(log.read_text(errors="replace"))],
        stage.lease_s,
        stage.redis.fsync != "always" and any(happening.kind == "kill-redis" for happening in happenings),
    )


async def _look_at(stage: Stage, job: JobEvidence) -> None:
    record = await stage.redis.ask("HGETALL", KEYS.job(job.id)) or {}
    job.state = record.get(b"state", b"").decode()
    job.attempt = int(record.get(b"attempt", 0))
    job.error_code = record.get(b"error_code", b"").decode()
    rows = await stage.redis.ask("XRANGE", KEYS.events(job.id), "-", "+") or []
    job.events = [Noted(fields[b"type"].decode(), json.loads(fields[b"data"])) for _, fields in rows]


def _errors(text: str) -> list[str]:
    """Lines with an error that nobody foresaw: such have a traceback, in a field of JSON lines or bare."""
    return [line for line in text.splitlines() if "Traceback (most recent call last)" in line]
