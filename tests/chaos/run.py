"""A service under faults, and what must hold afterwards: `python -m tests.chaos.run`; `make chaos` is the long form."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.evidence import Evidence, gather, queue_left
from tests.chaos.faults import Saboteur
from tests.chaos.laws import violations
from tests.chaos.load import Ledger, Load
from tests.chaos.orders import PHOTOS, make_photos
from tests.chaos.plan import KINDS, Plan, draw_plan, usual_counts
from tests.chaos.redis_node import RedisNode
from tests.chaos.report import fault_lines, figure_lines, law_lines, plan_lines
from tests.chaos.stage import Stage, eventually, refusals_in, set_up

EMPTY_S = 120.0
"""Longest time for what is left over to go: entries of batches whose API died wait for a minute."""


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        evidence: What was there afterwards.
        ledger: What callers know.
        broken: Violations of each law.
        commits_refused: In all, by the logs of workers.
        seconds: From the first fault to the end of the last job.
    """

    evidence: Evidence
    ledger: Ledger
    broken: dict[str, list[str]]
    commits_refused: int
    seconds: float

    @property
    def is_good(self) -> bool:
        return not any(self.broken.values())


async def run(
    folder: Path,
    redis: RedisNode,
    plan: Plan,
    *,
    seed: int,
    jobs: int,
    lease_s: float,
    photos: int = PHOTOS,
    report: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run a plan.

    Args:
        folder: For logs and data.
        redis: The server, not started.
        plan: The faults.
        seed: Of what callers ask for.
        jobs: Least number of photos that are handed in.
        lease_s: Lease of the workers.
        photos: Number of different photos.
        report: Called with a line about the progress.
    """
    async with set_up(folder, redis, lease_s) as stage:
        load = Load(stage.api.url, seed, make_photos(photos))
        keeping = asyncio.create_task(stage.keep_alive())
        try:
            await stage.until_ready()
            await load.learn()
            report(f"{len(load.right)} right results are known")
            saboteur, over = Saboteur(stage, load, report), asyncio.Event()
            started_s = time.monotonic()
            feeding = asyncio.create_task(load.feed(jobs, over))
            try:
                await saboteur.make(plan)
            except BaseException:
                feeding.cancel()
                raise
            over.set()
            await feeding
            await load.finish()
            seconds = time.monotonic() - started_s
            with contextlib.suppress(TimeoutError):  # then a law tells what is left
                await eventually(lambda: _is_empty(stage), EMPTY_S, "nothing waits any more")
            evidence = await gather(stage, load, saboteur.happenings)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await load.close()
        evidence.deaths += await asyncio.to_thread(stage.stop)
        refused = sum(refusals_in(log) for worker in stage.workers for log in worker.logs)
        return Outcome(evidence, load.ledger, violations(evidence), refused, seconds)


async def _is_empty(stage: Stage) -> bool:
    return not any((await queue_left(stage)).values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a plan and print what came of it; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the plan and of what callers ask for")
    parser.add_argument("--jobs", type=int, default=500, help="least number of photos")
    parser.add_argument("--kills", type=int, default=100, help="SIGKILLs of workers, API and Redis in all")
    parser.add_argument("--stalls", type=int, default=50, help="workers frozen while they commit")
    parser.add_argument("--others", type=int, default=3, help="faults of each other kind")
    parser.add_argument("--only", choices=("kill", *KINDS), action="append", help="faults of these kinds alone")
    parser.add_argument("--lease", type=float, default=2.0, help="lease in seconds")
    parser.add_argument("--fsync", choices=("always", "everysec", "no"), default="always", help="of the AOF")
    parser.add_argument("--redis", help="redis-server to use; without it one whose clock can be set, if there is one")
    parser.add_argument("--plan", action="store_true", help="print the plan and stop")
    parser.add_argument("--keep", type=Path, help="folder for logs, which are deleted otherwise")
    options = parser.parse_args(arguments)
    counts = usual_counts(options.kills, options.stalls, options.others)
    if options.only:
        counts = {kind: count for kind, count in counts.items() if _is_wanted(kind, options.only)}
    plan = draw_plan(options.seed, counts, options.lease)
    if options.plan:
        _say(*plan_lines(plan))
        return 0
    with contextlib.ExitStack() as stack:
        if options.keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vlmir-chaos-")))
        else:
            folder = options.keep
            folder.mkdir(parents=True)
        with_clock = counts.get("clock", 0) > 0 and options.redis is None
        redis = RedisNode(folder, options.fsync, with_clock=with_clock, binary=options.redis)
        _say(f"seed {options.seed}, lease {options.lease:g} s, appendfsync {options.fsync}, {redis.version}")
        _say("workers are real ones; those that take the place of killed ones have imported everything beforehand")
        running = run(folder, redis, plan, seed=options.seed, jobs=options.jobs, lease_s=options.lease, report=_say)
        outcome = asyncio.run(running)
    _say("", *fault_lines(outcome.evidence.happenings))
    _say("", *figure_lines(outcome.evidence, outcome.ledger, outcome.commits_refused, outcome.seconds))
    _say("", *law_lines(outcome.broken))
    _say("", "every law holds" if outcome.is_good else f"BROKEN LAWS, see above; seed {options.seed}")
    return 0 if outcome.is_good else 1


def _is_wanted(kind: str, only: Sequence[str]) -> bool:
    return kind in only or ("kill" in only and kind.startswith("kill-"))


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
