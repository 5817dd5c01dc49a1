"""Resident memory of a running service: idle, after a small photo, after a 24-megapixel photo.

Starts `vlmir serve` on a free loopback port with a state folder of its own, reads /proc (Linux), prints MiB.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from app.client import VlmirClient
from app.commands.supervisor import READY_LINE

LARGE = (6000, 4000)


def main(model: str = "small") -> None:
    """Print a row per moment: API, worker now, worker's peak."""
    with tempfile.TemporaryDirectory(prefix="vlmir-bench-") as state_dir:
        command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--state-dir", state_dir, "--model", model]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
            try:
                lines = (line for line in service.stdout or () if line.startswith(READY_LINE))
                url = next(lines).removeprefix(READY_LINE).strip()
                print(f"{'moment':34s} {'api':>6s} {'worker':>7s} {'peak':>6s} {'seconds':>8s}")  # noqa: T201
                _report("ready (after warm-up)", service.pid, 0.0)
                with VlmirClient(url, timeout_s=120) as client:
                    for name, size in (("after a 512 px photo", (512, 512)), ("after a 24-megapixel photo", LARGE)):
                        started = time.monotonic()
                        job = client.wait(client.submit(_photo(size), quality="balanced"), timeout_s=900)
                        _report(f"{name} ({job.state})", service.pid, time.monotonic() - started)
            finally:
                service.terminate()


def _photo(size: tuple[int, int]) -> bytes:
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([rows % 256, columns % 256, (rows + columns) // 2 % 256], -1).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", quality=90)
    return target.getvalue()


def _report(moment: str, parent: int, seconds: float) -> None:
    rows = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
            command = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if int(status["PPid"]) == parent and "VmRSS" in status:
            role = "worker" if "worker" in " ".join(command[1:4]) else "api" if "api" in command else "redis"
            rows[role] = tuple(int(status[key].split()[0]) // 1024 for key in ("VmRSS", "VmHWM"))
    api, worker = rows.get("api", (0, 0)), rows.get("worker", (0, 0))
    print(f"{moment:34s} {api[0]:6d} {worker[0]:7d} {worker[1]:6d} {seconds:8.1f}")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
