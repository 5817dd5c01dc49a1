"""`vlmir worker` under a fixed name, as a pod of a stateful set has one: `python -m tests.chaos.worker NAME`.

It ends by itself when its standard input closes.
"""

from __future__ import annotations

import sys

import typer

import app.worker.__main__ as program
from app.commands.roles import worker

if __name__ == "__main__":
    program._worker_name = lambda: sys.argv[1]
    try:
        worker(stop_on_eof=True)
    except typer.Exit as end:
        sys.exit(end.exit_code)
