"""How fast a run goes and what it waits for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Meter:
    """Images per second, share of the time spent waiting for data, and how busy the GPU is.

    On a CPU, batches are made in the same thread as the steps, so the share is what making them costs.

    Args:
        device: Where the training runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started = time.monotonic()
        self._waited_s = 0.0
        self._images = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting for data."""
        started = time.monotonic()
        yield
        self._waited_s += time.monotonic() - started

    def count(self, images: int) -> None:
        """Count the images of a step."""
        self._images += images

    def read(self) -> dict[str, float]:
        """Figures since the last reading: `images_per_s`, `data_share` (0..1), on CUDA `gpu_share` (0..1) too."""
        now = time.monotonic()
        seconds = max(1e-9, now - self._started)
        figures = {"images_per_s": self._images / seconds, "data_share": min(1.0, self._waited_s / seconds)}
        busy = _gpu_share(self._device)
        if busy is not None:
            figures["gpu_share"] = busy
        self._started, self._waited_s, self._images = now, 0.0, 0
        return figures


def describe(figures: dict[str, float]) -> str:
    """The figures of a reading as words for a progress line."""
    text = f"{figures['images_per_s']:.0f} images/s, data {100 * figures['data_share']:.0f} %"
    return text + (f", GPU {100 * figures['gpu_share']:.0f} %" if "gpu_share" in figures else "")


def _gpu_share(device: torch.device) -> float | None:
    """Share of the last moments in which a kernel ran; None without a GPU or without NVIDIA's management library."""
    if device.type != "cuda":
        return None
    try:
        return torch.cuda.utilization(device) / 100
    except (ModuleNotFoundError, RuntimeError):
        return None
