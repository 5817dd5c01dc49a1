from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from app import machine
from app.machine import free_bytes, memory_limit_bytes, resident_bytes

HOST_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_memory_limit_is_known() -> None:
    assert 64 * 1024**2 < memory_limit_bytes() <= HOST_BYTES


@pytest.mark.parametrize(("text", "limit"), [("123456789\n", 123456789), ("max\n", HOST_BYTES)])
def test_limit_of_the_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, limit: int) -> None:
    (tmp_path / "memory.max").write_text(text)
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (tmp_path / "missing", tmp_path / "memory.max"))
    assert memory_limit_bytes() == limit


@pytest.mark.skipif(not machine.RESIDENT.exists(), reason="the system does not tell what a process fills")
def test_memory_that_is_filled_is_no_longer_free() -> None:
    before, free_before = resident_bytes(), free_bytes()
    # not from the heap: it may have kept as much, and that is filled already
    block = mmap.mmap(-1, 64 * 1024**2)
    block.write(b"x" * len(block))
    assert resident_bytes() - before > len(block) // 2
    assert free_before - free_bytes() > len(block) // 2


def test_unknown_fill_counts_as_nothing_and_free_memory_is_never_below_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "RESIDENT", tmp_path / "missing")
    assert resident_bytes() == 0
    assert free_bytes() == memory_limit_bytes()
    (tmp_path / "statm").write_text("9 9999999999 9 9 0 9 0\n")
    monkeypatch.setattr(machine, "RESIDENT", tmp_path / "statm")
    assert free_bytes() == 0
