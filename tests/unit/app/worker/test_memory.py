"""Memory for photos, with what the machine and torch tell of it given by hand."""

from __future__ import annotations

import pytest
import torch

from app import machine
from app.settings import Settings
from app.worker.__main__ import make_runner
from app.worker.memory import STATE_SHARE, plan_state_bytes

GPU_BYTES, HOST_BYTES = 60_000_000, 10_000_000


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (GPU_BYTES, 2 * GPU_BYTES))
    monkeypatch.setattr(machine, "memory_limit_bytes", lambda: HOST_BYTES)
    monkeypatch.setattr(machine, "resident_bytes", lambda: 0)


def test_workers_on_one_gpu_share_what_is_free_on_it() -> None:
    for workers in (1, 2, 3):
        planned = plan_state_bytes(torch.device("cuda"), 1.0, 1 / workers)
        assert planned * workers == pytest.approx(GPU_BYTES * STATE_SHARE, abs=workers)


def test_the_share_of_a_gpu_is_none_of_the_host() -> None:
    assert plan_state_bytes(torch.device("cpu"), 1.0, 0.25) == int(HOST_BYTES * STATE_SHARE)
    assert plan_state_bytes(torch.device("cuda"), 0.25, 1.0) == int(GPU_BYTES * STATE_SHARE)
    assert plan_state_bytes(torch.device("cuda"), 1.0, 1e-12) == 1


@pytest.mark.parametrize(
    ("told", "share"),
    [({}, 1), ({"workers": 4}, 4), ({"workers": 4, "device_workers": 2}, 2), ({"device_workers": 3}, 3)],
)
def test_a_worker_plans_with_those_on_its_device(told: dict[str, int], share: int) -> None:
    runner = make_runner(Settings(model="tiny", **told))  # type: ignore[arg-type]
    assert runner._device_share == 1 / share
    assert runner._host_share == 1 / told.get("workers", 1)
