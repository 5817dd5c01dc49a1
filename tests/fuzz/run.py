"""All checks of schemathesis, from examples to chains of requests, against a running service.

`python -m tests.fuzz.run` starts a service of its own; `make fuzz-api` is the long form.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from app.api.operation_errors import OPERATIONS
from tests.fuzz.service import running_service

FOLDER = Path(__file__).parent
PHASES = "examples,coverage,fuzzing,stateful"


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        failures: What failed, in one text; empty when nothing did.
        output: What schemathesis printed.
        answers: Number of answers by operation and status.
    """

    failures: str
    output: str
    answers: dict[str, Counter[int]]

    @property
    def cases(self) -> int:
        """Number of requests that were sent."""
        return sum(sum(by_status.values()) for by_status in self.answers.values())


def fuzz(url: str, folder: Path, *, seconds: int | None, examples: int | None, seed: int) -> Outcome:
    """Run schemathesis.

    Args:
        url: Address of the service.
        folder: For its report.
        seconds: Time budget, or None.
        examples: Most cases per operation and phase, or None for the default.
        seed: Of all random choices.
    """
    report = folder / "report.ndjson"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(FOLDER / "schemathesis.toml")]
    command += ["run", f"{url}/openapi.json", "--phases", PHASES, "--checks", "all"]
    # DELETE cancels a job and keeps it, unless it has `purge=true`: `purged_is_gone` of the hooks looks at that.
    command += ["--exclude-checks", "use_after_free"]
    command += ["--seed", str(seed), "--report", "ndjson", "--report-ndjson-path", str(report)]
    command += [] if seconds is None else ["--max-time", str(seconds)]
    command += [] if examples is None else ["--max-examples", str(examples)]
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parents[1]), "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)
    output = done.stdout + done.stderr
    answers = _count_answers(report) if report.exists() else {}
    return Outcome("" if done.returncode == 0 else output, output, answers)


def _count_answers(report: Path) -> dict[str, Counter[int]]:
    found: dict[str, Counter[int]] = {}
    with report.open(encoding="utf-8") as lines:
        for line in lines:
            recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
            for name, interaction in recorder.get("interactions", {}).items():
                case, response = recorder["cases"][name]["value"], interaction["response"]
                if response is not None:
                    found.setdefault(f"{case['method']} {case['path']}", Counter())[response["status_code"]] += 1
    return found


def main() -> int:
    """Start a service, fuzz it, print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=None, help="time budget")
    parser.add_argument("--examples", type=int, default=None, help="most cases per operation and phase")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vlmir-fuzz-") as name, running_service(Path(name)) as url:
        outcome = fuzz(url, Path(name), seconds=arguments.seconds, examples=arguments.examples, seed=arguments.seed)
    sys.stdout.write(outcome.output)
    for operation in OPERATIONS:  # and not the many methods that paths do not take
        by_status = outcome.answers.get(operation, Counter[int]())
        counted = ", ".join(f"{status}: {count}" for status, count in sorted(by_status.items()))
        sys.stdout.write(f"{operation:<36} {counted}\n")
    sys.stdout.write(f"{outcome.cases} requests, {'FAILURES, see above' if outcome.failures else '0 failures'}\n")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
