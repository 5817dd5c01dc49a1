"""What histories of a queue are played on: server, clock, worker processes; and how a rule of them is made."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from app.jobs.job import PRIORITIES
from app.jobs.queue import JobQueue, QueuePolicy
from tests.property.queue_clock import Clock
from tests.property.queue_history import MAX_DELIVERIES
from tests.property.queue_model import DEAD_S, LEASE_S, RECORD_S, RESULT_S

if TYPE_CHECKING:
    from tests.property.queue_world import QueueWorld

POLICY = QueuePolicy(
    lease_ms=1000 * LEASE_S,
    max_deliveries=MAX_DELIVERIES,
    result_ttl_s=RESULT_S,
    record_ttl_s=RECORD_S,
    dead_ttl_s=DEAD_S,
    batch_every=3,
)
NAMES = ("ada", "bob", "cyd")

workers = st.integers(0, len(NAMES) - 1)
picks = st.integers(0, 1000)
choices = st.sampled_from([PRIORITIES, PRIORITIES, PRIORITIES[:1], PRIORITIES[1:]])


@dataclass
class Stage:
    """What the histories of one run have in common.

    Attributes:
        url: Address of a Redis server for this run alone.
        clock: Its clock.
        alter: Changes a queue before it is used; breakages are made so.
        rules: How often each rule was played.
        examples: Number of histories.
    """

    url: str
    clock: Clock
    alter: Callable[[JobQueue], None] = lambda queue: None
    rules: Counter[str] = field(default_factory=Counter)
    examples: int = 0


@dataclass
class Process:
    """A worker process.

    Attributes:
        name: Name of the worker.
        queue: Its queue.
        held: Entries that it works on.
    """

    name: str
    queue: JobQueue
    held: set[str] = field(default_factory=set)

    @property
    def owner(self) -> str:
        """The process, as records name it."""
        return f"{self.name}/{self.queue._claimer.instance}"


def step(when: Callable[[Any], bool] = lambda world: True, **arguments: Any) -> Callable[[Callable[..., None]], Any]:
    """A rule that is counted; `when` says whether it may be played."""

    def decorate(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def counted(self: QueueWorld, **values: Any) -> None:
            if function.__name__ not in ("ask", "meet", "settle_one"):  # which count what they do
                self.stage.rules[function.__name__] += 1
            try:
                function(self, **values)
            except BaseException:
                self.is_broken = True  # then nothing more is expected of it
                raise

        make_rule, guard = cast("Any", rule), cast("Any", precondition)  # types depend on the version of hypothesis
        return guard(when)(make_rule(**arguments)(counted))

    return decorate
