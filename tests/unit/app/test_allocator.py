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


_PROBE_LITTLE = """
import threading
from app.allocator import give_freed_memory_back, keep_little_freed_memory
from app.machine import resident_bytes

print(keep_little_freed_memory())
block = bytearray(30 << 20)
del block
print(resident_bytes() >> 20)
everyone = threading.Barrier(4)

def work():
    everyone.wait()
    blocks = [bytearray(1 << 20) for _ in range(40)]
    everyone.wait()
    del blocks

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
give_freed_memory_back()
print(resident_bytes() >> 20)
"""


def test_large_blocks_go_back_at_once_and_those_of_threads_when_told_to() -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("GLIBC_", "MALLOC_", "LD_"))}
    done = subprocess.run([sys.executable, "-c", _PROBE_LITTLE], env=own, capture_output=True, text=True, check=True)
    does, freed, given_back = done.stdout.split()
    assert does == "True"
    assert int(freed) < 25
    assert int(given_back) < 60  # of 160 that the threads had
