"""Names of devices, with what torch says about the machine given by hand."""

from __future__ import annotations

import pytest
import torch

from app.errors import DeviceUnavailableError
from app.images import ImageLimits
from app.worker.devices import choose_device
from app.worker.runner import Runner


def machine(patch: pytest.MonkeyPatch, cuda: int, mps: bool) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    patch.setattr(torch.cuda, "device_count", lambda: cuda)
    patch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "wanted", "expected"),
    [
        (2, True, "auto", "cuda"),
        (0, True, "auto", "cpu"),  # nobody has run the method on one
        (0, False, "auto", "cpu"),
        (2, False, "cuda:1", "cuda:1"),
        (1, False, "cuda", "cuda"),
        (2, True, "cpu", "cpu"),
        (0, True, "mps", "mps"),
    ],
)
def test_device_is_the_best_or_the_one_named(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, wanted: str, expected: str
) -> None:
    machine(monkeypatch, cuda, mps)
    assert choose_device(wanted) == expected


@pytest.mark.parametrize("wanted", ["cuda:2", "cuda:-1", "mps", "tpu", "CUDA", "cuda:0,cuda:1", "cpu:1", ""])
def test_device_that_is_not_there_is_named_with_those_that_are(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    machine(monkeypatch, 2, False)
    with pytest.raises(DeviceUnavailableError) as caught:
        choose_device(wanted)
    assert repr(wanted) in caught.value.detail
    assert "cpu, cuda:0, cuda:1" in caught.value.detail


def test_runner_refuses_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 0, False)
    with pytest.raises(DeviceUnavailableError, match="'cuda:1' is not there"):
        Runner("tiny", "cuda:1", 1, 8, ImageLimits()).load()


def test_budgets_follow_the_share_of_the_machine() -> None:
    whole, half = (Runner("tiny", "cpu", 1, 8, ImageLimits(), host_share=share) for share in (1.0, 0.5))
    assert half.pixel_budget_bytes() < 0.6 * whole.pixel_budget_bytes()
