"""A short chaos run: one fault of each kind that can be made here, some jobs, every law. `make chaos` is longer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.plan import KINDS, draw_plan
from tests.chaos.redis_node import RedisNode
from tests.chaos.report import fault_lines, figure_lines, law_lines
from tests.chaos.run import run

LEASE_S = 1.0
SEED = 4
JOBS = 20
COUNTS = dict.fromkeys(KINDS, 1) | {"kill-both": 0}  # starting two workers again takes its time
TIMED = "killed workers are replaced in time"  # a promise for machines that have time; the long form holds it to that


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_whatever_goes_wrong(tmp_path: Path) -> None:
    redis = RedisNode(tmp_path, "always")
    plan = draw_plan(SEED, COUNTS, LEASE_S)
    outcome = asyncio.run(run(tmp_path, redis, plan, seed=SEED, jobs=JOBS, lease_s=LEASE_S, photos=2))
    told = "\n".join(
        [
            *fault_lines(outcome.evidence.happenings),
            *figure_lines(outcome.evidence, outcome.ledger, outcome.commits_refused, outcome.seconds),
            *law_lines(outcome.broken),
        ]
    )
    assert not any(sentences for law, sentences in outcome.broken.items() if law != TIMED), told
    assert len(outcome.ledger.accepted) >= JOBS, told
    skipped = {happening.kind for happening in outcome.evidence.happenings if not happening.is_made}
    assert skipped <= {"full-disk", "clock"}, told  # those need root, and libfaketime
    stalls = [happening for happening in outcome.evidence.happenings if happening.kind == "stall"]
    assert [stall.is_refused for stall in stalls] == [True], told
