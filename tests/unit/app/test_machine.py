from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app import machine
from app.machine import free_bytes, memory_limit_bytes, resident_bytes, share_cores

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


@pytest.mark.skipif(not machine.RESIDENT.exists(), reason="other systems have another OpenMP")
def test_waiting_threads_of_torch_soon_sleep() -> None:
    program = "from app.machine import share_cores; share_cores(); import torch"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", program]
    told = subprocess.run(
        command, env=environment | {"OMP_DISPLAY_ENV": "VERBOSE"}, check=True, capture_output=True, text=True
    )
    assert "GOMP_SPINCOUNT = '10000'" in told.stderr


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "5")])
def test_what_the_environment_says_about_waiting_wins(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    for variable in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, value)
    share_cores()
    assert os.environ[name] == value
    assert os.environ.get("GOMP_SPINCOUNT") == (value if name == "GOMP_SPINCOUNT" else None)
