"""What a run is to do, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.soak.caller import Tally
from tests.soak.laws import Trend, Verdict
from tests.soak.service import Lifetimes
from tests.soak.watch import ProcessSample, RedisSample

LONG_LIVES = Lifetimes(result=20, record=20, key=30, batch=60)


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    Attributes:
        seconds: Length of the load.
        seed: Of all that is random.
        model: Name of the model.
        callers: Scenes at a time.
        every_s: Time between two samples.
        pace_s: Least time between the beginnings of two scenes of a caller.
        warm_s: Length of the load before the first levels are read.
        lives: For how long the service keeps things.
        stay_s: Time for which the second worker stays.
        pause_s: Time between two of its visits.
        once: Whether the deck has every scene once.
        idle_s: Quiet time before levels are read: a worker gives freed memory back after five seconds, and one that was
            killed is forgotten after eight.
    """

    seconds: float
    seed: int = 1
    model: str = "tiny"
    callers: int = 4
    every_s: float = 2.0
    pace_s: float = 2.0
    warm_s: float = 120.0
    lives: Lifetimes = LONG_LIVES
    stay_s: float = 60.0
    pause_s: float = 30.0
    once: bool = False
    idle_s: float = 12.0


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        plan: What was to be done.
        times: Seconds since the beginning of the load, of each sample.
        processes: Samples of each process, by name.
        server: Samples of Redis.
        before: Levels before the load.
        after: Levels after it, once everything has expired.
        memory: What Redis said of its memory before the load and after it.
        lasting: Keys that never go by themselves, with their bytes, at the end.
        visits: How each visit of the second worker ended.
        tally: What the load met.
        complaints: Lines of the log that begin a traceback.
        verdicts: The laws and what was found.
        trends: Memory of each process, where the run was long enough for it.
    """

    plan: Plan
    times: list[float] = field(default_factory=list)
    processes: dict[str, list[ProcessSample]] = field(default_factory=dict)
    server: list[RedisSample] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    memory: list[dict[str, int]] = field(default_factory=list)
    lasting: dict[str, int] = field(default_factory=dict)
    visits: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    complaints: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    trends: dict[str, Trend] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether every law was kept."""
        return all(verdict.is_kept for verdict in self.verdicts)
