"""Which device a worker runs on, by the name that people give."""

from __future__ import annotations

import re

import torch

from app.errors import DeviceUnavailableError

_NAMES = re.compile(r"(cpu|cuda|mps)(?::(\d+))?")


def choose_device(wanted: str) -> str:
    """Give the name of a torch device that is there.

    What CUDA_VISIBLE_DEVICES hides is not there, and the rest is counted from 0.

    Args:
        wanted: "cpu", "cuda", "cuda:1", "mps", or "auto" for CUDA if it is there, else the CPU. Apple's GPUs are taken
            by name alone until somebody has run the whole method on one.

    Raises:
        DeviceUnavailableError: It is not there, or no such kind is known.
    """
    count, has_mps = torch.cuda.device_count() if torch.cuda.is_available() else 0, torch.backends.mps.is_available()
    if wanted == "auto":
        return "cuda" if count else "cpu"
    there = ["cpu", *(f"cuda:{index}" for index in range(count)), *(["mps"] if has_mps else [])]
    found = _NAMES.fullmatch(wanted)
    index = int(found[2] or 0) if found else 0
    if found and (f"{found[1]}:{index}" in there or (index == 0 and found[1] in there)):
        return wanted
    reason = "is not there" if found else "is no device that this program knows"
    if found and found[1] == "cuda":
        reason += (
            f" ({count} CUDA devices are visible to this process; see CUDA_VISIBLE_DEVICES and the driver)"
            if torch.version.cuda is not None
            else " (this PyTorch was built without CUDA)"
        )
    raise DeviceUnavailableError(
        f"The device {wanted!r} {reason}. There are {', '.join(there)}; set VLMIR_DEVICE or --device to one of them or "
        "to auto."
    )


def wait_for(device: torch.device) -> None:
    """Return when the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
