"""How much memory this process may use, and giving back what it no longer needs."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


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


def return_free_memory() -> None:
    """Give freed heap pages back to the system where the allocator keeps them (glibc); elsewhere no effect."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # absent in musl
    if trim is not None:
        trim(0)
