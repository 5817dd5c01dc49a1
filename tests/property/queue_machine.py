"""The queue on a real Redis beside a plain model of it, driven by random histories."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.queue_callers import CallerRules
from tests.property.queue_faults import FaultRules
from tests.property.queue_stage import Stage
from tests.property.queue_workers import WorkerRules


class QueueMachine(CallerRules, WorkerRules, FaultRules):
    """All rules; its subclasses have a stage to play them on."""


def play(stage: Stage, *, examples: int, steps: int, chosen_seed: int, is_hunt: bool = False) -> None:
    """Play random histories.

    Args:
        stage: Where; counts what is played.
        examples: Number of histories.
        steps: Most rules in one of them.
        chosen_seed: Of all random choices.
        is_hunt: A history that breaks a law is wanted: it is neither made as short as can be nor printed.

    Raises:
        AssertionError: A law is broken; the history that does it is printed.
    """
    machine: Any = seed(chosen_seed)(type("Machine", (QueueMachine,), {"stage": stage}))
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate] if is_hunt else [Phase.generate, Phase.shrink],
        verbosity=Verbosity.quiet if is_hunt else Verbosity.normal,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)
