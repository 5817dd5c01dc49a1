"""Plans of faults: the same for the same seed, every fault once that was asked for, none that spoils a stall."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.plan import KINDS, OF_API, OF_REDIS, OF_WORKERS, draw_plan, usual_counts
from tests.chaos.report import plan_lines
from tests.chaos.run import main

COUNTS = usual_counts(100, 50, 3)


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    first, again, other = (draw_plan(seed, COUNTS, 2.0) for seed in (1, 1, 2))
    assert list(plan_lines(first)) == list(plan_lines(again))
    assert list(plan_lines(first)) != list(plan_lines(other))


def test_every_fault_that_was_asked_for_is_planned_once() -> None:
    plan = draw_plan(1, COUNTS, 2.0)
    assert Counter(fault.kind for faults in plan for fault in faults) == COUNTS


@pytest.mark.parametrize("kills", [0, 7, 100, 500])
def test_kills_add_up(kills: int) -> None:
    counts = usual_counts(kills, 0, 0)
    assert counts["kill-worker"] + 2 * counts["kill-both"] + counts["kill-api"] + counts["kill-redis"] == kills
    assert min(counts.values()) >= 0


def test_a_hundred_kills_hit_workers_thirty_times_and_everything_else_often() -> None:
    assert COUNTS["kill-worker"] + 2 * COUNTS["kill-both"] >= 30
    assert COUNTS["kill-api"] >= 30
    assert COUNTS["kill-redis"] >= 30


@pytest.mark.parametrize("seed", range(20))
def test_rounds_have_one_fault_of_each_part_and_stalls_have_another_worker(seed: int) -> None:
    plan = draw_plan(seed, COUNTS, 2.0)
    for faults in plan:
        kinds = [fault.kind for fault in faults]
        assert all(sum(kind in part for kind in kinds) <= 1 for part in (OF_WORKERS, OF_REDIS, OF_API)), kinds
        if "stall" in kinds:
            assert set(kinds) <= {"stall", "kill-api", "kill-redis", "pause-redis"}
    assert any(len(faults) > 1 for faults in plan)
    assert (
        sum([fault.kind for fault in faults] == ["kill-worker"] for faults in plan) >= 8
    )  # where recovery is measured


def test_what_must_outlast_a_lease_does() -> None:
    for faults in draw_plan(3, dict.fromkeys(KINDS, 20), 2.0):
        for fault in faults:
            if fault.kind in ("freeze", "hole"):
                assert fault.for_s > 2.0
            if fault.kind == "clock":
                assert abs(fault.amount) > 2.0


def test_unknown_faults_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no fault 'flood'; there are kill-worker, "):
        draw_plan(1, {"flood": 1}, 2.0)


def test_a_plan_can_be_printed_beforehand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plan", "--seed", "5", "--only", "kill", "--kills", "10"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert all("kill-" in line for line in lines)
