"""The meter counts images and the time spent waiting for them, from one reading to the next."""

from __future__ import annotations

import time

import pytest
import torch

from model.train import meter as module
from model.train.meter import Meter, describe


def test_rate_and_waiting_since_the_last_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meter = Meter(torch.device("cpu"))
    with meter.waiting():
        now[0] += 1.0
    meter.count(6)
    now[0] += 3.0
    meter.count(6)
    figures = meter.read()
    assert figures == {"images_per_s": 3.0, "data_share": 0.25}
    assert describe(figures) == "3 images/s, data 25 %"
    now[0] += 2.0
    assert meter.read() == {"images_per_s": 0.0, "data_share": 0.0}


def test_a_gpu_that_tells_how_busy_it_is_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    # There is no GPU in most test runs: what it would say is given.
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 87)
    figures = Meter(torch.device("cuda")).read()
    assert figures["gpu_share"] == 0.87
    assert describe(figures).endswith("GPU 87 %")


def test_a_gpu_without_its_management_library_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(device: torch.device) -> int:
        raise ModuleNotFoundError("pynvml")

    monkeypatch.setattr(torch.cuda, "utilization", missing)
    assert module._gpu_share(torch.device("cuda")) is None
