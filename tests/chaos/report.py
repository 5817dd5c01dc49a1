"""What a run prints: faults and what they did, the figures, the laws."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.evidence import Evidence
from tests.chaos.load import Ledger
from tests.chaos.plan import KINDS, MEANING, Plan
from tests.chaos.recovery import Happening, recoveries

_MOST_SHOWN = 20


def plan_lines(plan: Plan) -> Iterator[str]:
    """The plan, a line for each fault."""
    for number, faults in enumerate(plan, start=1):
        for fault in faults:
            yield f"round {number:>3}: {fault}"


def fault_lines(happenings: Sequence[Happening]) -> Iterator[str]:
    """A table of the faults: kind, how many, how many could not be made, what they did in all."""
    yield f"{'fault':<12} {'made':>5} {'not':>4}  what it did"
    for kind in KINDS:
        of_kind = [happening for happening in happenings if happening.kind == kind]
        if not of_kind:
            continue
        made = [happening for happening in of_kind if happening.is_made]
        notes: Counter[str] = Counter()
        for happening in made:
            notes.update(happening.notes)
        told = [f"{name} {amount:.0f}" for name, amount in notes.items() if amount]
        yield f"{kind:<12} {len(made):>5} {len(of_kind) - len(made):>4}  {MEANING[kind]}"
        yield f"{'':<24}{', '.join(told) or 'nothing to be seen'}"
        for remark in sorted({happening.remark for happening in of_kind if happening.remark}):
            yield f"{'':<24}! {remark}"


def figure_lines(evidence: Evidence, ledger: Ledger, commits_refused: int, seconds: float) -> Iterator[str]:
    """The figures of a run."""
    jobs = list(evidence.jobs.values())
    states = Counter(job.state or "missing" for job in jobs)
    attempts = Counter(job.attempt for job in jobs)
    happenings = [happening for happening in evidence.happenings if happening.is_made]
    count = Counter(happening.kind for happening in happenings)
    kills = count["kill-worker"] + 2 * count["kill-both"] + count["kill-api"] + count["kill-redis"]
    workers = count["kill-worker"] + 2 * count["kill-both"]
    stalls = [happening for happening in happenings if happening.kind == "stall"]
    stalled_s = [happening.notes["stalled for s"] for happening in stalls]
    yield f"seconds                     {seconds:.0f}"
    each = f"workers {workers}, API {count['kill-api']}, Redis {count['kill-redis']}"
    yield f"kills                       {kills} ({each})"
    yield f"jobs accepted               {len(ledger.accepted)}"
    yield f"jobs lost                   {states['missing']}"
    yield f"orders that became two      {_doubled(evidence)}"
    yield f"ends                        {_told(states)}"
    yield f"attempts per job            {_told(attempts)}"
    yield f"jobs finished twice         {sum(_ends(job.events) > 1 for job in jobs)}"
    yield f"stale results served        {sum(job.state == 'succeeded' and _is_wrong(evidence, job.id) for job in jobs)}"
    yield f"stalls longer than a lease  {sum(second > evidence.lease_s for second in stalled_s)} of {len(stalls)}"
    yield f"their late commits refused  {sum(happening.is_refused is True for happening in stalls)}"
    yield f"commits refused in all      {commits_refused}"
    yield f"answers to those who hand in {_told(ledger.counts)}"
    found = recoveries(evidence.happenings, {job.id: job.attempts for job in jobs})
    alone = [recovery.seconds for recovery in found if recovery.is_alone]
    beside = [recovery.seconds for recovery in found if not recovery.is_alone]
    yield f"recovery after a kill, lease {evidence.lease_s:g} s: {_spread(alone)}"
    yield f"the same, beside other faults: {_spread(beside)}"


def law_lines(broken: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Each law, and where it is broken."""
    for law, sentences in broken.items():
        yield f"{'BROKEN' if sentences else 'holds ':<7} {law}"
        for sentence in sentences[:_MOST_SHOWN]:
            yield f"          {sentence}"
        if len(sentences) > _MOST_SHOWN:
            yield f"          and {len(sentences) - _MOST_SHOWN} more"


def _doubled(evidence: Evidence) -> int:
    counts = Counter(job.order for job in evidence.jobs.values())
    return sum(count > evidence.orders.get(order, 0) for order, count in counts.items())


def _ends(events: Sequence[object]) -> int:
    terminal = ("succeeded", "failed", "canceled")
    return sum(getattr(noted, "type", "") == "state" and noted.data["state"] in terminal for noted in events)  # type: ignore[attr-defined]


def _is_wrong(evidence: Evidence, job_id: str) -> bool:
    job = evidence.jobs[job_id]
    return job.accepted is not None and job.digest != evidence.right[job.accepted.wish]


def _told(counts: Mapping[object, int] | Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items(), key=str) if count) or "none"


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none measured"
    ordered = sorted(seconds)
    p95 = ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]
    return (
        f"{len(ordered)} jobs, median {ordered[len(ordered) // 2]:.2f} s, p95 {p95:.2f} s, longest {ordered[-1]:.2f} s"
    )
