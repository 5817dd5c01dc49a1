"""`python -m tests.deploy.check`: builds every overlay, validates every object, holds all rules against them."""

from __future__ import annotations

import sys

from tests.deploy.manifests import NO_KUBECTL, OVERLAYS, build, can_build
from tests.deploy.rules import RULES, broken_rules
from tests.deploy.schemas import KUBERNETES, schema_errors


def main() -> int:
    """Print a line per overlay, what is wrong, and the sum."""
    if not can_build():
        sys.stderr.write(f"{NO_KUBECTL}\n")
        return 1
    count = 0
    errors: list[str] = []
    broken: list[str] = []
    for overlay in OVERLAYS:
        objects = build(overlay)
        wrong = [line for found in objects for line in schema_errors(found)]
        against = broken_rules(objects)
        sys.stdout.write(
            f"{overlay}: {len(objects)} objects, {len(wrong)} schema errors, "
            f"{len(against)} breaches of {len(RULES)} rules\n"
        )
        count, errors, broken = count + len(objects), errors + wrong, broken + against
    sys.stderr.writelines(f"{line}\n" for line in [*errors, *broken])
    sys.stdout.write(
        f"{count} objects, {len(errors)} schema errors (Kubernetes {KUBERNETES}, KEDA, Prometheus operator), "
        f"{len(broken)} breaches of {len(RULES)} rules\n"
    )
    return 1 if errors or broken else 0


if __name__ == "__main__":
    sys.exit(main())
