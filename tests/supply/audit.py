"""`make audit`: whether an installed package has a known hole, by pip-audit and the OSV database.

The database is on the net, where not every machine gets to: then it says so and does not fail. A finding fails, and so
does an audit that breaks off although the service answers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

SERVICE = "https://api.osv.dev/v1/query"
CONNECT_S = 3.0
DAY_S = 24 * 3600.0
STAMP = Path(sys.prefix) / ".audited"
"""There since the last audit without a finding."""

IGNORED: dict[str, str] = {}
"""Ids of findings that do not concern this service, and why."""


def reason_unreachable(service: str) -> str | None:
    """Give why the service cannot be asked, or None when it answers as it should."""
    try:
        # An empty question is answered with a complaint by the service itself, and otherwise by whatever is in between.
        answer = httpx.post(service, json={}, timeout=CONNECT_S)
        answer.json()
    except (httpx.HTTPError, OSError) as error:
        return type(error).__name__
    except ValueError:
        return f"status {answer.status_code} from something else"
    return None if answer.status_code in (200, 400) else f"status {answer.status_code}"


def findings(report: dict[str, Any]) -> list[str]:
    """Give a line per hole in a report of pip-audit, without the ones in `IGNORED`."""
    return [
        f"{package['name']} {package.get('version')}: {hole['id']}"
        + (f" ({', '.join(hole['aliases'])})" if hole.get("aliases") else "")
        + (f", mended in {', '.join(hole['fix_versions'])}" if hole.get("fix_versions") else ", not mended yet")
        for package in report["dependencies"]
        for hole in package.get("vulns", [])
        if not {hole["id"], *hole.get("aliases", [])} & set(IGNORED)
    ]


def audit(service: str, arguments: Sequence[str]) -> int:
    """Ask and tell; gives the exit code: 1 with findings, 2 when it broke off.

    Args:
        service: Address of a service that speaks like OSV.
        arguments: Further ones for pip-audit; none for all that is installed.
    """
    if (reason := reason_unreachable(service)) is not None:
        print(f"audit: {service} is not reachable ({reason}), skipped")  # noqa: T201
        return 0
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--osv-url", service]
    command += ["--format", "json", "--progress-spinner", "off", *(arguments or ("--skip-editable",))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        if (reason := reason_unreachable(service)) is not None:
            print(f"audit: {service} is not reachable any more ({reason}), skipped")  # noqa: T201
            return 0
        print(f"audit: pip-audit broke off:\n{done.stderr}", file=sys.stderr)  # noqa: T201
        return 2
    found = findings(report)
    for line in found:
        print(f"audit: {line}", file=sys.stderr)  # noqa: T201
    passed_over = [package["name"] for package in report["dependencies"] if "skip_reason" in package]
    print(  # noqa: T201
        f"audit: {len(report['dependencies'])} packages, {len(found)} known holes"
        + (f", not asked about: {', '.join(passed_over)}" if passed_over else "")
    )
    return 1 if found else 0


def main() -> int:
    """Run with the arguments of this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", default=SERVICE, help="address of a service that speaks like OSV")
    parser.add_argument("--daily", action="store_true", help="do nothing if there was an audit in the last 24 hours")
    options, rest = parser.parse_known_args()
    if options.daily and STAMP.exists() and time.time() - STAMP.stat().st_mtime < DAY_S:
        return 0
    code = audit(options.service, rest)
    if code == 0 and not rest and reason_unreachable(options.service) is None:
        STAMP.touch()
    return code


if __name__ == "__main__":
    sys.exit(main())
