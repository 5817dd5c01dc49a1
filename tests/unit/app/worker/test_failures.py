"""Errors of a device that is lost, of one that is full, and of neither."""

from __future__ import annotations

import pytest
import torch

from app.errors import DeviceMemoryError, RestorationFailedError
from app.worker.failures import as_service_errors, is_device_error, probe_device, to_service_error
from app.worker.faults import DeviceLostError, UnexpectedError
from model.errors import ConfigError

LOST = (
    "CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA",
    "CUDA error: uncorrectable ECC error encountered",
    "CUDA error: device-side assert triggered",
    "CUDA error: unspecified launch failure",
)
FULL = (
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: not enough memory: you tried to allocate",
)


@pytest.mark.parametrize("words", LOST)
def test_errors_of_the_cuda_runtime_lose_the_device(words: str) -> None:
    with pytest.raises(DeviceLostError) as caught:
        to_service_error(RuntimeError(words))
    assert "\n" not in str(caught.value)  # without CUDA's advice to developers
    with pytest.raises(DeviceLostError), as_service_errors():
        raise RuntimeError(words)


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="PyTorch before 2.8 has no such type")
def test_torch_says_by_a_type_that_it_is_the_device() -> None:
    assert is_device_error(torch.AcceleratorError("whatever the words"))
    assert not is_device_error(torch.AcceleratorError("CUDA error: out of memory"))


@pytest.mark.parametrize("words", FULL)
def test_lack_of_memory_loses_nothing(words: str) -> None:
    assert isinstance(to_service_error(RuntimeError(words)), DeviceMemoryError)


def test_only_what_nobody_foresaw_is_worth_another_attempt() -> None:
    unknown = to_service_error(RuntimeError("shapes do not fit"))
    assert isinstance(unknown, UnexpectedError)
    assert (unknown.code, unknown.retryable) == (RestorationFailedError.code, True)
    assert not to_service_error(ConfigError("quality 'x'")).retryable


def test_a_lost_device_stays_lost_on_the_way_out() -> None:
    with pytest.raises(DeviceLostError, match="first"), as_service_errors():
        raise DeviceLostError("first")


def test_a_device_that_works_passes_the_probe() -> None:
    probe_device(torch.device("cpu"))


@pytest.mark.parametrize(("words", "is_lost"), [("odd", True), (LOST[0], True), (FULL[0], False)])
def test_a_device_that_cannot_add_is_lost_unless_it_is_full(
    monkeypatch: pytest.MonkeyPatch, words: str, is_lost: bool
) -> None:
    def refuse(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError(words)

    monkeypatch.setattr(torch, "ones", refuse)
    if not is_lost:
        probe_device(torch.device("cpu"))
        return
    with pytest.raises(DeviceLostError, match="does not even add"):
        probe_device(torch.device("cpu"))


def test_a_device_that_adds_wrongly_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = torch.zeros(1)
    monkeypatch.setattr(torch, "ones", lambda *_, **__: wrong)
    with pytest.raises(DeviceLostError, match="adds 1 and 1 to 1"):
        probe_device(torch.device("cpu"))
