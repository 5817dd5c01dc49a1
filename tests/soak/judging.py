"""The laws that a run is held to."""

from __future__ import annotations

from app.jobs.connection import MAX_CONNECTIONS
from app.jobs.job import PRIORITIES
from app.jobs.keys import Keys
from tests.soak.laws import Verdict, judge_growth, judge_levels, trend
from tests.soak.outcome import Outcome

JUDGED_FROM_S = 600.0
"""Shortest load after which memory is judged: in shorter ones most of it is what a process takes once.

Modules and decoders, caches of allocators, of Redis its scripts and a histogram for each command.
"""

LASTING = {
    "jobs": "stream of waiting jobs with its group: an autoscaler must find it before the first job; empty now",
    "notices": "ids of ended jobs, which wake those who wait: capped at about 10,000 entries; and how fast jobs end",
    "workers": "the workers that are there: a row of each, taken out when it leaves or falls silent",
}
"""Keys that never go by themselves, by the word behind the prefix, and why not."""

MOST_KEPT = 0.05
"""Most memory that a process, and Redis by its own count, may have kept once everything has expired, as a share."""

_JEMALLOC_THREADS = 4
_PHOTO_THREADS = 3
_POOLS = {"API": 2, "worker": 1}
_FEW = 8


def judge(outcome: Outcome) -> None:
    """Put the verdicts, and the trends of memory, into an outcome."""
    tally, before = outcome.tally, outcome.before
    verdicts = [
        Verdict(
            "scenes that went wrong", f"{len(tally.failures)} of {tally.scenes.total():,}", "0", not tally.failures
        ),
        Verdict("tracebacks in the log", str(outcome.complaints), "0", not outcome.complaints),
    ]
    for name, samples in outcome.processes.items():
        if len(samples) >= _FEW:
            outcome.trends[name] = trend(outcome.times, [float(sample.resident_bytes) for sample in samples])
    if outcome.plan.seconds >= JUDGED_FROM_S:
        verdicts += [judge_growth(name, found) for name, found in outcome.trends.items()]
    else:
        before = {name: level for name, level in before.items() if not name.endswith("memory")}
    verdicts += judge_levels(before, outcome.after, _bounds(before, outcome.plan.callers))
    strange = [name for name in outcome.lasting if _word(name) not in LASTING]
    verdicts.append(Verdict("keys without a time that nobody knows", ", ".join(strange) or "0", "0", not strange))
    outcome.verdicts = verdicts


def _bounds(before: dict[str, int], callers: int) -> dict[str, int]:
    """What is kept on purpose.

    Connections to Redis that were needed once stay, up to the size of their pools. Threads of the API that worked for a
    request stay until the next one that needs a thread; there was one per caller at most. A worker's threads for
    photos, and those in which Redis' allocator tidies up, start when they are first needed.
    """
    pools = {name: count * MAX_CONNECTIONS for name, count in _POOLS.items()}
    bounds = {f"{name}: unix sockets": before.get(f"{name}: unix sockets", 0) + most for name, most in pools.items()}
    for name in ("Redis: unix sockets", "Redis: clients"):
        bounds[name] = before.get(name, 0) + sum(pools.values())
    for name, more in (("API", callers), ("worker", _PHOTO_THREADS), ("Redis", _JEMALLOC_THREADS)):
        bounds[f"{name}: threads"] = before.get(f"{name}: threads", 0) + more
    bounds["Redis: consumers"] = len(PRIORITIES)  # the worker that stays has one in each stream, from its first look
    for name in before:
        if name.endswith("memory"):
            bounds[name] = int(before[name] * (1 + MOST_KEPT))
    return bounds


def _word(name: str) -> str:
    return name.removeprefix(Keys().prefix).split(":")[0]
