"""The bare network: time, rate and arithmetic per batch size, against what the device can do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.diffusion.context import Context
from model.pipeline import Restorer

_PEAK_SIDE = {"cpu": 1024, "cuda": 8192}  # of the square matrices whose product counts as the device's peak
_PEAK_ROUNDS = 10


@dataclass(frozen=True)
class ForwardRow:
    """A forward of `batch` tiles.

    Attributes:
        batch: Tiles.
        milliseconds: Median time of one forward.
        tiles_per_s: Tile-steps per second.
        tflop_per_s: Arithmetic per second, by torch's counter.
        share_of_peak: Of the rate of a large matrix product in the same precision, measured in the same run.
    """

    batch: int
    milliseconds: float
    tiles_per_s: float
    tflop_per_s: float
    share_of_peak: float


def measure_network(restorer: Restorer, batches: Sequence[int], rounds: int = 7) -> Iterator[ForwardRow]:
    """Time forwards of several batch sizes in the precision of the service (bf16 on CUDA, fp32 elsewhere)."""
    peak = peak_tflop_per_s(restorer.device)
    for batch in batches:
        forward = make_forward(restorer, batch)
        with FlopCounterMode(display=False) as counter:
            forward()
        seconds = statistics.median(time_call(forward, restorer.device, rounds))
        rate = counter.get_total_flops() / 1e12 / seconds
        yield ForwardRow(batch, seconds * 1000, batch / seconds, rate, rate / peak)


def make_forward(restorer: Restorer, batch: int) -> Callable[[], torch.Tensor]:
    """A call that runs the network once on random tiles, as `Restorer.forward_tiles` would."""
    sizes, tile, device = restorer.config.network, restorer.tile_px, restorer.device
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(batch, 3, tile, tile, generator=generator).to(device)
    mask = torch.zeros(batch, 1, tile, tile, device=device)
    times = torch.full((batch,), restorer.config.diffusion.timesteps, device=device)
    count = 2 * sizes.tokens_per_embedding + sizes.visual_pool**2
    tokens = torch.randn(batch, count, sizes.context_dim, generator=generator).to(device)
    context = Context(tokens, torch.randn(batch, sizes.time_dim, generator=generator).to(device))

    @torch.inference_mode()
    def forward() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            estimate: torch.Tensor = restorer.network(pixels, pixels, mask, times, context)
        return estimate

    return forward


def peak_tflop_per_s(device: torch.device) -> float:
    """Rate of a large square matrix product in the precision of the service."""
    side = _PEAK_SIDE.get(device.type, 1024)
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    matrix = torch.randn(side, side, device=device, dtype=kind)
    seconds = min(time_call(lambda: matrix @ matrix, device, _PEAK_ROUNDS))
    return 2 * side**3 / 1e12 / seconds


def time_call(call: Callable[[], Any], device: torch.device, rounds: int) -> list[float]:
    """Seconds of each of `rounds` calls, after one that does not count."""
    call()
    spent = []
    for _ in range(rounds):
        wait_for(device)
        started = time.perf_counter()
        call()
        wait_for(device)
        spent.append(time.perf_counter() - started)
    return spent


def wait_for(device: torch.device) -> None:
    """Return when the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
