"""How long jobs of a killed worker waited for another one: from the kill to the next attempt, by the events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.stage import Attempt


@dataclass
class Happening:
    """A fault that was made.

    Attributes:
        kind: As in the plan.
        began_ms: When, by the clock of this machine.
        ended_ms: When it was over, with all that was waited for.
        victims: Attempts in the hands of a killed worker.
        notes: What it did, as counts by name.
        remark: Why it was not made, or anything else worth a line.
        is_made: Whether it was made at all.
        is_stuck: What must follow it did not; the remark says what.
        is_refused: Of a stall: whether the late commit was refused; None when no commit came to be stalled.
        had_other_worker: Whether another worker was ready, with room for what the killed one had in hand.
    """

    kind: str
    began_ms: float
    ended_ms: float = 0.0
    victims: list[Attempt] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    remark: str = ""
    is_made: bool = True
    is_stuck: bool = False
    is_refused: bool | None = None
    had_other_worker: bool = False

    def note(self, name: str, amount: float = 1) -> None:
        self.notes[name] = self.notes.get(name, 0) + amount


@dataclass(frozen=True)
class Recovery:
    """One job that was taken over.

    Attributes:
        job_id: The job.
        seconds: From the kill to the next attempt.
        is_alone: Whether nothing else went wrong meanwhile, so that the bound holds.
    """

    job_id: str
    seconds: float
    is_alone: bool


def recoveries(happenings: Sequence[Happening], attempts: Mapping[str, Sequence[tuple[int, float]]]) -> list[Recovery]:
    """Give how long each job of a killed worker took to be with another one.

    Jobs that ended without another attempt (their callers canceled them) are left out.

    Args:
        happenings: All faults.
        attempts: Of each job its attempts: fence, and when it began by the clock of the Redis server in milliseconds.
    """
    found = []
    for happening in happenings:
        for victim in happening.victims:
            later = [at_ms for fence, at_ms in attempts.get(victim.job_id, ()) if fence > victim.fence]
            if not later:
                continue
            taken_ms = min(later)
            others = [other for other in happenings if other is not happening]
            is_alone = happening.had_other_worker and not any(
                other.began_ms <= taken_ms and other.ended_ms >= happening.began_ms for other in others
            )
            found.append(Recovery(victim.job_id, (taken_ms - happening.began_ms) / 1000, is_alone))
    return found
