"""What goes wrong, and when: drawn from a seed alone, so that a run can be printed beforehand and made again."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

OF_WORKERS = ("kill-worker", "kill-both", "stall", "freeze", "cut", "hole", "delay")
OF_REDIS = ("kill-redis", "pause-redis", "full-memory", "full-disk", "clock")
OF_API = ("kill-api",)
KINDS = (*OF_WORKERS, *OF_REDIS, *OF_API)
MEANING = {
    "kill-worker": "SIGKILL of a worker that has a job in hand",
    "kill-both": "SIGKILL of both workers at once",
    "stall": "SIGSTOP of a worker while it commits a result, until another one has the job; SIGCONT",
    "freeze": "SIGSTOP of a worker at any moment, for longer than the lease; SIGCONT",
    "cut": "connections of a worker to Redis broken off and refused",
    "hole": "connections of a worker to Redis carry nothing, and later all at once",
    "delay": "connections of a worker to Redis are slow",
    "kill-redis": "SIGKILL of Redis, started again on its AOF",
    "pause-redis": "SIGSTOP of Redis; SIGCONT",
    "full-memory": "Redis at its memory limit (noeviction)",
    "full-disk": "no room for the AOF",
    "clock": "the clock of Redis jumps, and back",
    "kill-api": "SIGKILL of the API",
}

TOGETHER = 0.3
"""Share of rounds with faults of workers that a fault of Redis joins, and likewise one of the API."""

# A stall is to end in a refused commit, so another worker must be able to take the job.
_BESIDE_STALLS = frozenset({"kill-api", "kill-redis", "pause-redis"})
_GROUPS: dict[str, tuple[str, ...]] = {"workers": OF_WORKERS, "redis": OF_REDIS, "api": OF_API}


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: One of `KINDS`.
        after_s: Seconds from the beginning of its round.
        for_s: How long it lasts; 0 for what is over at once.
        worker: Which worker, 0 or 1, where it is about one.
        amount: Milliseconds of a delay, seconds of a jump of the clock.
        way: How, where there are several ways.
    """

    kind: str
    after_s: float
    for_s: float = 0.0
    worker: int = 0
    amount: float = 0.0
    way: str = ""

    def __str__(self) -> str:
        parts = [self.kind, f"after {self.after_s:.2f} s"]
        parts += [f"for {self.for_s:.2f} s"] if self.for_s else []
        parts += (
            [f"worker {self.worker}"] if self.kind in OF_WORKERS and self.kind not in ("stall", "kill-both") else []
        )
        parts += [f"amount {self.amount:+.2f}"] if self.amount else []
        return ", ".join([*parts, *([self.way] if self.way else [])])


Plan = tuple[tuple[Fault, ...], ...]
"""Rounds of faults: those of one round come together, and the next round waits until the last one is over."""


def usual_counts(kills: int, stalls: int, others: int) -> dict[str, int]:
    """How many faults of each kind there are for a number of kills in all, of stalls, and of each other kind."""
    both = kills // 50  # each of them is two kills
    redis, api = kills * 30 // 100, kills * 34 // 100
    counts = dict.fromkeys(KINDS, others) | {"stall": stalls, "kill-both": both, "kill-redis": redis, "kill-api": api}
    return counts | {"kill-worker": kills - redis - api - 2 * both}


def draw_plan(seed: int, counts: Mapping[str, int], lease_s: float) -> Plan:
    """Draw a plan.

    Args:
        seed: Of all choices.
        counts: How many faults of each kind; none of those that are not named.
        lease_s: Lease of the workers; what lasts is as long as some leases.
    """
    unknown = sorted(set(counts) - set(KINDS))
    if unknown:
        raise ValueError(f"there is no fault {unknown[0]!r}; there are {', '.join(KINDS)}")
    numbers = random.Random(seed)
    lines: dict[str, list[Fault]] = {}
    for group, kinds in _GROUPS.items():
        lines[group] = [
            _draw_fault(numbers, kind, index, lease_s) for kind in kinds for index in range(counts.get(kind, 0))
        ]
        numbers.shuffle(lines[group])
    rounds = []
    while sum(map(len, lines.values())):
        leader = numbers.choice([group for group, line in lines.items() for _ in line])
        faults = [lines[leader].pop()]
        for group, line in lines.items():
            # Faults of workers lead: they wait until both are there, and others need not.
            is_beside = group not in (leader, "workers") and line and numbers.random() < TOGETHER
            if is_beside and _may_meet(faults, line[-1]):
                faults.append(replace(line.pop(), after_s=numbers.uniform(0, lease_s)))
        rounds.append(tuple(faults))
    return tuple(rounds)


def _may_meet(faults: Sequence[Fault], other: Fault) -> bool:
    return other.kind in _BESIDE_STALLS or all(fault.kind != "stall" for fault in faults)


def _draw_fault(numbers: random.Random, kind: str, index: int, lease_s: float) -> Fault:
    spans = {
        "stall": (0.0, 0.3),  # beyond the moment at which another worker has the job
        "freeze": (1.2, 2.0),
        "cut": (0.5, 2.5),
        "hole": (1.2, 2.2),
        "delay": (1.0, 2.0),
        "pause-redis": (0.2, 1.2),
        "full-memory": (1.0, 1.5),
        "full-disk": (1.0, 1.5),
        "clock": (1.2, 2.0),
    }
    low, high = spans.get(kind, (0.0, 0.0))
    for_s = lease_s * numbers.uniform(low, high)
    fault = Fault(kind, numbers.uniform(0, 0.4), for_s, worker=numbers.randrange(2))
    if kind == "delay":
        return replace(fault, amount=numbers.uniform(20, 150))
    if kind == "clock":
        jump_s = lease_s * numbers.uniform(1.5, 4.0)
        return replace(fault, amount=jump_s if index % 2 == 0 else -jump_s)
    if kind == "full-disk":
        return replace(fault, way=("refuses", "exits")[index % 2])
    return fault
