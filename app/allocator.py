"""How glibc's allocator treats freed memory: kept for the next forward, given back when there is nothing to do.

A forward on a CPU allocates and frees hundreds of megabytes of activations. Left alone, glibc maps each large block
anew and returns it at once, so the kernel clears the same pages again at every layer. See mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8

_MMAP_THRESHOLDS = (1 << 30, 32 << 20)
"""Blocks from this size on are mapped one by one; some versions of glibc refuse more than the second number."""

_KEEP = (
    (_M_ARENA_MAX, 1),  # arenas of other threads cannot grow beyond 64 MiB and would map large blocks all the same
    (_M_TRIM_THRESHOLD, 2**31 - 1),
    (_M_TOP_PAD, 64 << 20),
)

_KEEP_LITTLE = (
    # What is free at the end of the one arena goes back by `give_freed_memory_back`, at the end of others never.
    (_M_ARENA_MAX, 1),
    (_M_MMAP_THRESHOLD, 4 << 20),  # above the pixels of usual photos; without it glibc moves the bound up to 32 MiB
    (_M_TRIM_THRESHOLD, 32 << 20),
)

_USERS_OWN = ("GLIBC_TUNABLES", "MALLOC_", "LD_PRELOAD")
"""Starts of environment variables by which a user has chosen an allocator or its settings; they win."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees. Call it early, before the model is loaded.

    Returns:
        Whether it does; False where the C library is not glibc, or where the environment already says what to do.
    """
    if _is_chosen_by_user():
        return False
    libc = _glibc()
    if libc is None or not any(libc.mallopt(_M_MMAP_THRESHOLD, value) for value in _MMAP_THRESHOLDS):
        return False
    return all(libc.mallopt(option, value) for option, value in _KEEP)


def keep_little_freed_memory() -> bool:
    """Let this process return large blocks as soon as it frees them, and have all else where it can be given back.

    For processes that hold much for moments only. Call it early, before there are threads.

    Returns:
        Whether it does; False as for `keep_freed_memory`.
    """
    if _is_chosen_by_user():
        return False
    libc = _glibc()
    return libc is not None and all(libc.mallopt(option, value) for option, value in _KEEP_LITTLE)


def give_freed_memory_back() -> None:
    """Return to the system what this process has freed; nothing happens where the C library is not glibc."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _is_chosen_by_user() -> bool:
    return any(name.startswith(_USERS_OWN) for name in os.environ)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None  # musl knows neither call
