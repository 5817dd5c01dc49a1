"""A mixed load for many minutes, and what is left of it afterwards: `python -m tests.soak.run --minutes 20 --seed 1`.

Starts a service of its own: API, worker and Redis, with a second worker that comes and goes. `make soak` is the long
form. Prints a table and writes it, a picture and all figures into a folder. The exit code is 1 when a law is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.soak.outcome import Plan
from tests.soak.report import write_report
from tests.soak.soaking import soak


def main() -> int:
    """Run and report; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="length of the load")
    parser.add_argument("--seed", type=int, default=1, help="of photos, scenes and moments")
    parser.add_argument("--model", default="tiny", help="name of a model, or a folder with one")
    parser.add_argument("--callers", type=int, default=Plan.callers, help="scenes at a time")
    parser.add_argument("--report", type=Path, default=Path("runs/soak"), help="folder for the report")
    given = parser.parse_args()
    plan = Plan(60 * given.minutes, given.seed, given.model, given.callers)
    with tempfile.TemporaryDirectory(prefix="vlmir-soak-") as folder:
        outcome = asyncio.run(soak(plan, Path(folder)))
        given.report.mkdir(parents=True, exist_ok=True)
        (given.report / "service.log").write_bytes((Path(folder) / "service.log").read_bytes())
    sys.stdout.write(write_report(outcome, given.report))
    sys.stdout.write(f"report: {given.report}; {'all laws kept' if outcome.is_good else 'LAWS BROKEN, see above'}\n")
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
