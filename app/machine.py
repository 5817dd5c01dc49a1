"""What this process may use of the machine, and what it uses."""

from __future__ import annotations

import os
from pathlib import Path

RESIDENT = Path("/proc/self/statm")
"""Memory of this process in pages, the second number what is in RAM; Linux only."""

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

_SPINS = 10_000


def memory_limit_bytes() -> int:
    """Give the memory of the machine, or of the container where that is less."""
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in CGROUP_LIMITS:
        try:
            text = path.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():  # else "max": no limit
            limit = min(limit, int(text))
    return limit


def resident_bytes() -> int:
    """Give the memory that this process fills at present; 0 where the system does not tell."""
    try:
        return int(RESIDENT.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def free_bytes(share: float = 1.0) -> int:
    """Give the memory that this process may still take; 0 when it has passed its limit.

    Args:
        share: Part of the memory that is this process's; 1 when it is alone.
    """
    return max(0, int(memory_limit_bytes() * share) - resident_bytes())


def share_cores() -> None:
    """Let threads of OpenMP that wait for each other spin for some microseconds only; call it before torch is imported.

    By default they spin for milliseconds. While another process or thread wants the cores, those that have work are
    kept off them by those that spin, at every one of the hundreds of meetings of a forward. Sleeping at once would cost
    more where nobody else is there; docs/performance.md has the figures. What the environment says already wins.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))


def usable_cores() -> int:
    """Give the number of CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
