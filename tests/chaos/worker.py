"""`vlmir worker`, imported beforehand: `python -m tests.chaos.worker [NAME]` waits for a line before it begins.

With a name it has that one always, as a pod of a stateful set does. It ends by itself when its standard input closes.
"""

from __future__ import annotations

import os
import sys

import typer

import app.worker.__main__ as program
import app.worker.runner  # noqa: F401  imports torch, which takes seconds
from app.commands.roles import worker


def main() -> int:
    """Wait, then work; gives the exit code."""
    if os.read(0, 1) != b"\n":
        return 0  # nobody needs it any more
    if len(sys.argv) > 1:
        program._worker_name = lambda: sys.argv[1]
    try:
        worker(stop_on_eof=True)
    except typer.Exit as end:
        return int(end.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
