"""Runs Spin on `docs/models/lease.pml`: `python -m tests.property.lease_model`."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).parents[2] / "docs" / "models" / "lease.pml"

BROKEN = {
    "commits ignore fence and owner": ("-DNO_FENCE",),
    "commits ignore the owner": ("-DNO_OWNER",),
    "a refused result is deleted in a step of its own": ("-DDELETE_LATER",),
    "a commit does not look whether the job is canceled": ("-DCANCEL_LATE",),
    "deliveries are not counted": ("-DCOUNT_NOTHING",),
}
"""Variants in which something bad happens."""

LOST = ("-DUNSAVED", "-DFAULTS=0")
"""A job that was accepted before it was on the disk: it need not come to an end."""


@dataclass(frozen=True)
class Verdict:
    """What Spin found.

    Attributes:
        errors: Number of histories that break something; the search ends with the first.
        states: Number of states that were looked at.
        output: All that it printed.
    """

    errors: int
    states: int
    output: str


def missing_tool() -> str | None:
    """Give the name of a program that is needed and not there, or None."""
    return next((name for name in ("spin", "gcc") if shutil.which(name) is None), None)


def verify(*defines: str, always_ends: bool = False) -> Verdict:
    """Look at every state of the model.

    Args:
        defines: Options of the model, such as "-DFAULTS=2".
        always_ends: Look whether the job always ends, if each process goes on at some time, instead of what must never
            be the case.

    Raises:
        RuntimeError: The model cannot be compiled, or the search was not complete.
    """
    with tempfile.TemporaryDirectory(prefix="vlmir-spin-") as name:
        folder = Path(name)
        shutil.copy(MODEL, folder)
        _run(folder, "spin", "-a", *defines, MODEL.name)
        options = ["-DNFAIR=3"] if always_ends else ["-DSAFETY", "-DNOCLAIM"]
        _run(folder, "gcc", "-O1", "-w", *options, "-o", "pan", "pan.c")
        output = _run(folder, "./pan", "-m100000", *(["-a", "-f"] if always_ends else []))
    errors, states = re.search(r"errors: (\d+)", output), re.search(r"(\d+) states, stored", output)
    if errors is None or states is None or "max search depth too small" in output:
        raise RuntimeError(f"the search has no result: {output}")
    return Verdict(int(errors[1]), int(states[1]), output)


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {output}")
    return output


def main() -> int:
    """Look at the model and at its broken variants, print what came out; 1 when that is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=3, help="budget of faults of workers")
    parser.add_argument("--redis-crashes", type=int, default=1, help="budget of crashes of Redis")
    arguments = parser.parse_args()
    tool = missing_tool()
    if tool is not None:
        sys.stderr.write(f"{tool} is not installed; on Debian and Ubuntu: apt-get install {tool}\n")
        return 1
    bounds = (f"-DFAULTS={arguments.faults}", f"-DREDIS_CRASHES={arguments.redis_crashes}")
    is_good = _tell("nothing bad happens", False, *bounds)
    is_good &= _tell("the job always ends", False, "-DFAULTS=1", always_ends=True)
    for name, defines in BROKEN.items():
        is_good &= _tell(name, True, *defines)
    is_good &= _tell("the job is accepted before it is on the disk", True, *LOST, always_ends=True)
    return 0 if is_good else 1


def _tell(name: str, has_error: bool, *defines: str, always_ends: bool = False) -> bool:
    started_s = time.monotonic()
    verdict = verify(*defines, always_ends=always_ends)
    took_s = time.monotonic() - started_s
    found = "a history breaks it" if verdict.errors else "no error"
    sys.stdout.write(f"  {name:<52}{verdict.states:>11} states {took_s:>6.1f} s  {found}  {' '.join(defines)}\n")
    sys.stdout.flush()
    return bool(verdict.errors) is has_error


if __name__ == "__main__":
    sys.exit(main())
