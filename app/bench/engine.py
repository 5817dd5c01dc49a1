"""The engine against the bare network on the same tile-steps, and against other ways to serve the same photos.

Everything runs in this process on random photos. Ways are compared in turns within one run (A B C, A B C, ...), so that
a noisy machine harms all alike; figures are medians over the turns.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from app.bench.network import make_forward
from app.images import Photo
from app.jobs.job import RestoreOptions
from app.worker.engine import Engine, EnginePolicy, JobShape
from app.worker.pixels import to_tensor
from app.worker.runner import Runner
from app.worker.stages import DecodedPhoto

Size = tuple[int, int]


@dataclass(frozen=True)
class WayRow:
    """One way to serve a set of photos.

    Attributes:
        way: Name.
        seconds: Median wall time for all photos, analysis included.
        tile_steps: Network forwards of single tiles that it ran.
        megapixels_per_s: Photos' pixels over the time.
    """

    way: str
    seconds: float
    tile_steps: int
    megapixels_per_s: float


@dataclass(frozen=True)
class Overhead:
    """Wall time of the steps in the engine, and of the bare network on batches of the same sizes, seconds."""

    engine_s: float
    network_s: float
    tile_steps: int
    batches: int

    @property
    def ratio(self) -> float:
        """Engine over network; the goal is 1.05 or less."""
        return self.engine_s / self.network_s


def measure_overhead(runner: Runner, sizes: Sequence[Size], steps: int, rounds: int = 3) -> Overhead:
    """Time the same tile-steps through engine and runner, and through the network alone.

    The engine's time holds choosing, gathering, blending and the scheduler's steps; not decoding, analysis, encoding.
    """
    engine_s: list[float] = []
    network_s: list[float] = []
    batch_sizes: list[int] = []
    forwards: dict[int, Callable[[], torch.Tensor]] = {}
    for _ in range(rounds):
        engine = _begin_all(runner, sizes, steps)
        batch_sizes = []
        started = time.perf_counter()
        for batch in _run_to_the_end(runner, engine):
            batch_sizes.append(batch)
        _wait(runner)
        engine_s.append(time.perf_counter() - started)
        buckets = [max(2, 1 << (size - 1).bit_length()) for size in batch_sizes]
        for bucket in set(buckets) - set(forwards):
            forwards[bucket] = make_forward(runner.restorer, bucket)
            forwards[bucket]()
        started = time.perf_counter()
        for bucket in buckets:
            forwards[bucket]()
        _wait(runner)
        network_s.append(time.perf_counter() - started)
    return Overhead(statistics.median(engine_s), statistics.median(network_s), sum(batch_sizes), len(batch_sizes))


def compare_ways(runner: Runner, sizes: Sequence[Size], steps: int, rounds: int = 3) -> list[WayRow]:
    """Serve the same photos by step-level batching, one at a time, in static batches of equals, and by a plain loop."""
    ways: dict[str, Callable[[], int]] = {
        "step-level batching": lambda: _together(runner, sizes, steps),
        "one at a time": lambda: sum(_together(runner, [size], steps) for size in sizes),
        "static batches of equals": lambda: sum(
            _together(runner, list(group), steps)
            for _, equals in itertools.groupby(sorted(sizes))
            for group in _chunks(list(equals), runner.batch_tiles)
        ),
        "plain pipeline loop": lambda: _plain_loop(runner, sizes, steps),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    counts = {}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            counts[name] = way()
            _wait(runner)
            spent[name].append(time.perf_counter() - started)
    megapixels = sum(width * height for width, height in sizes) / 1e6
    return [
        WayRow(name, statistics.median(times), counts[name], megapixels / statistics.median(times))
        for name, times in spent.items()
    ]


def _together(runner: Runner, sizes: Sequence[Size], steps: int) -> int:
    engine = _begin_all(runner, sizes, steps)
    return sum(_run_to_the_end(runner, engine))


def _begin_all(runner: Runner, sizes: Sequence[Size], steps: int) -> Engine:
    engine = Engine(EnginePolicy(runner.batch_tiles))
    for index, (width, height) in enumerate(sizes):
        name = f"bench-{index}"
        begun = runner.begin(name, _decoded(width, height, index), RestoreOptions(steps=steps, seed=index))
        engine.add(JobShape(name, begun.tiles, begun.steps, state_bytes=begun.state_bytes))
    return engine


def _run_to_the_end(runner: Runner, engine: Engine) -> Iterator[int]:
    """Run batch after batch; gives the tiles of each."""
    while batch := engine.next_batch():
        report = runner.run(batch)
        for error in report.failed.values():
            raise error
        for job_id in engine.complete(report.ran):
            runner.end_step(job_id)
            if engine.step_done(job_id):
                runner.finish(job_id)
                engine.remove(job_id)
        yield len(batch)


def _plain_loop(runner: Runner, sizes: Sequence[Size], steps: int) -> int:
    """What a plain diffusers pipeline does: each whole photo in one forward per step, one photo after the other.

    Sides are rounded up to what the network takes. Memory grows with the photo, which is why the service tiles.
    """
    restorer = runner.restorer
    unit = restorer.config.network.stem_factor * 2 ** (len(restorer.config.network.widths) - 1)
    for index, (width, height) in enumerate(sizes):
        image = _decoded(-(-width // unit) * unit, -(-height // unit) * unit, index).image.to(restorer.device)
        context = restorer.analyze(image).context
        restorer.scheduler.set_timesteps(steps)
        times = [*restorer.scheduler.timesteps.tolist(), 0]
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(index)).to(restorer.device)
        state, mask = image + restorer.scheduler.noise_level * noise, torch.zeros_like(image[:, :1])
        for now, following in itertools.pairwise(times):
            with (
                torch.inference_mode(),
                torch.autocast(restorer.device.type, torch.bfloat16, enabled=restorer.device.type == "cuda"),
            ):
                at = torch.full((1,), now, device=restorer.device)
                estimate = restorer.network(state, image, mask, at, context).float().clamp(0, 1)
            state = restorer.scheduler.step(
                estimate, now, state, image, previous_timestep=following, return_dict=False
            )[0]
    return len(sizes) * steps


def _decoded(width: int, height: int, seed: int) -> DecodedPhoto:
    """A photo of slopes and grain: the time does not depend on what a photo shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    grain = np.random.default_rng(seed).integers(0, 32, (height, width, 3))
    pixels = (np.stack([rows, columns, rows + columns], -1) % 224 + grain).astype(np.uint8)
    return DecodedPhoto(Photo(pixels, None, False, None, None, "png"), to_tensor(pixels), None)


def _chunks(items: list[Size], count: int) -> Iterator[list[Size]]:
    for first in range(0, len(items), count):
        yield items[first : first + count]


def _wait(runner: Runner) -> None:
    if runner.restorer.device.type == "cuda":
        torch.cuda.synchronize(runner.restorer.device)
