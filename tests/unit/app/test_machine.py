from __future__ import annotations

import os
from pathlib import Path

import pytest

from app import machine
from app.machine import memory_limit_bytes

HOST_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_memory_limit_is_known() -> None:
    assert 64 * 1024**2 < memory_limit_bytes() <= HOST_BYTES


@pytest.mark.parametrize(("text", "limit"), [("123456789\n", 123456789), ("max\n", HOST_BYTES)])
def test_limit_of_the_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, limit: int) -> None:
    (tmp_path / "memory.max").write_text(text)
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (tmp_path / "missing", tmp_path / "memory.max"))
    assert memory_limit_bytes() == limit
