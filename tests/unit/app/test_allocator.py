"""Freed memory is kept and given back, in processes of their own: the settings hold for a whole process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from app.allocator import _glibc

pytestmark = pytest.mark.skipif(_glibc() is None, reason="the C library is not glibc")

_PROBE = """
import sys
from app.allocator import give_freed_memory_back, keep_freed_memory
from app.machine import resident_bytes

print(keep_freed_memory())
kept = bytearray(1)
block = bytearray(200 << 20)
del block
print(resident_bytes() >> 20)
give_freed_memory_back()
print(resident_bytes() >> 20)
"""


def probe(**environment: str) -> tuple[bool, int, int]:
    """Give whether memory is kept, and MiB resident after 200 MiB were freed, then after they were given back."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("GLIBC_", "MALLOC_", "LD_"))}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], env=own | environment, capture_output=True, text=True, check=True
    )
    kept, freed, given_back = done.stdout.split()
    return kept == "True", int(freed), int(given_back)


def test_freed_memory_stays_until_it_is_given_back() -> None:
    is_kept, freed, given_back = probe()
    assert is_kept
    assert freed > 200
    assert given_back < 100


def test_an_environment_that_chooses_an_allocator_wins() -> None:
    is_kept, freed, _ = probe(MALLOC_ARENA_MAX="2")
    assert not is_kept
    assert freed < 100
