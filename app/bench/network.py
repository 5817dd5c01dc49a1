"""The bare network: time, rate and arithmetic per batch size, against what the device can do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.diffusion.sample_inputs import draw_inputs
from model.forward import TileBatch, TileForward
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


def measure_network(
    restorer: Restorer, batches: Sequence[int], rounds: int = 7, is_compiled: bool = False
) -> Iterator[ForwardRow]:
    """Time forwards of several batch sizes in the precision of the service (bf16 on CUDA, fp32 elsewhere).

    Args:
        restorer: Loaded model.
        batches: Tiles per forward.
        rounds: Timed forwards of each size.
        is_compiled: Whether `torch.compile` makes the network first; the service runs it without. Takes minutes.
    """
    peak = peak_tflop_per_s(restorer.device)
    run: TileForward = restorer.forward
    if is_compiled:
        compiled: Any = torch.compile(restorer.network)  # no longer a network by type, but called as one
        run = TileForward(compiled, restorer.device)
    for batch in batches:
        forward = make_forward(restorer, batch, run)
        seconds = statistics.median(time_call(forward, restorer.device, rounds))
        rate = count_flops(restorer, batch) / 1e12 / seconds
        yield ForwardRow(batch, seconds * 1000, batch / seconds, rate, rate / peak)


@torch.inference_mode()
def count_flops(restorer: Restorer, batch: int) -> int:
    """Arithmetic of one forward by torch's counter, two operations per multiplication with addition."""
    inputs = draw_inputs(restorer.config, batch, restorer.device)
    with FlopCounterMode(display=False) as counter:
        restorer.network(*inputs)  # not a replayed graph, of which the counter sees nothing
    flops: int = counter.get_total_flops()
    return flops


def make_forward(restorer: Restorer, batch: int, run: TileForward | None = None) -> Callable[[], torch.Tensor]:
    """A call that runs the network once on random tiles as the service does: captured graphs on CUDA.

    Args:
        restorer: Loaded model.
        batch: Tiles.
        run: What calls the network; None for the restorer's own.
    """
    inputs = draw_inputs(restorer.config, batch, restorer.device)
    tiles = TileBatch(*inputs[:-1], inputs.context.tokens, inputs.context.embedding)
    run = run or restorer.forward
    return lambda: run(tiles)


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
