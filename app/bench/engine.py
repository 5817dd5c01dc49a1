"""The engine against the bare network on the same tile-steps, and against other ways to serve the same photos.

Everything runs in this process on random photos. Ways are compared in turns within one run (A B C, A B C, ...), so that
a noisy machine harms all alike; figures are medians over the turns.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from app.bench.decoded import copy_of, make_photos
from app.bench.network import make_forward, wait_for
from app.bench.photos import Size
from app.bench.whole import STATIC_BATCH, group_equals, restore_whole
from app.jobs.job import RestoreOptions
from app.worker.engine import Engine, EnginePolicy, JobShape
from app.worker.runner import Runner
from app.worker.stages import DecodedPhoto
from model.buckets import bucket_tiles


@dataclass(frozen=True)
class WayRow:
    """One way to serve a set of photos.

    Attributes:
        way: Name.
        seconds: Median wall time for all photos, analysis included.
        forwards: Calls of the network.
        items: Tiles, or whole photos where it does not tile, that went through it, each counted once per step.
        megapixels_per_s: Photos' pixels over the time.
    """

    way: str
    seconds: float
    forwards: int
    items: int
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

    @property
    def tile_steps_per_s(self) -> float:
        """Rate of the engine."""
        return self.tile_steps / self.engine_s


def measure_overheads(
    runner: Runner, sets: Mapping[str, Sequence[Size]], steps: int, rounds: int = 3
) -> dict[str, Overhead]:
    """Time the same tile-steps through engine and runner, and through the network alone, for sets of photos in turns.

    The engine's time holds choosing, gathering, blending and the scheduler's steps; not decoding, analysis, encoding.

    Args:
        runner: Loaded and warm.
        sets: Sizes of photos by the name of the set.
        steps: Denoising steps of every photo.
        rounds: Turns; times are medians over them.
    """
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in sets}
    batches: dict[str, list[int]] = {}
    forwards: dict[int, Callable[[], torch.Tensor]] = {}
    for _ in range(rounds):
        for name, sizes in sets.items():
            engine = begin_all(runner, make_photos(sizes), steps)
            started = time.perf_counter()
            batches[name] = list(run_to_the_end(runner, engine))
            wait_for(runner.restorer.device)
            engine_s = time.perf_counter() - started
            buckets = [bucket_tiles(size) for size in batches[name]]
            for bucket in set(buckets) - set(forwards):
                forwards[bucket] = make_forward(runner.restorer, bucket)
                forwards[bucket]()
            wait_for(runner.restorer.device)
            started = time.perf_counter()
            for bucket in buckets:
                forwards[bucket]()
            wait_for(runner.restorer.device)
            spent[name].append((engine_s, time.perf_counter() - started))
    found = {}
    for name, times in spent.items():
        engine_s, network_s = (statistics.median(column) for column in zip(*times, strict=True))
        found[name] = Overhead(engine_s, network_s, sum(batches[name]), len(batches[name]))
    return found


def compare_ways(runner: Runner, sizes: Sequence[Size], steps: int, rounds: int = 3) -> list[WayRow]:
    """Serve the same photos in four ways.

    - step-level batching: the engine, all photos at once;
    - one at a time: the engine, one photo after the other;
    - static batches of equals: up to `STATIC_BATCH` whole photos of one size per forward, through all steps together;
    - plain pipeline loop: whole photos, one after the other, as a diffusers pipeline does.

    The last two do not tile, so their memory grows with the photo. Batches of tiles are as large as the runner has them
    at that moment: `measure_overheads` and this take the same size as long as the runner is not warmed up in between.
    """
    ways: dict[str, Callable[[Sequence[DecodedPhoto]], Iterator[int]]] = {
        "step-level batching": lambda photos: serve_in_batches(runner, photos, steps),
        "one at a time": lambda photos: itertools.chain.from_iterable(
            serve_in_batches(runner, [photo], steps) for photo in photos
        ),
        "static batches of equals": lambda photos: itertools.chain.from_iterable(
            restore_whole(runner, group, steps) for group in group_equals(photos, STATIC_BATCH)
        ),
        "plain pipeline loop": lambda photos: itertools.chain.from_iterable(
            restore_whole(runner, [photo], steps) for photo in photos
        ),
    }
    photos = make_photos(sizes)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    forwards: dict[str, list[int]] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            fresh = [copy_of(photo) for photo in photos]
            started = time.perf_counter()
            forwards[name] = list(way(fresh))
            wait_for(runner.restorer.device)
            spent[name].append(time.perf_counter() - started)
    megapixels = sum(width * height for width, height in sizes) / 1e6
    return [
        WayRow(
            name,
            statistics.median(times),
            len(forwards[name]),
            sum(forwards[name]),
            megapixels / statistics.median(times),
        )
        for name, times in spent.items()
    ]


def serve_in_batches(runner: Runner, photos: Sequence[DecodedPhoto], steps: int) -> Iterator[int]:
    """Restore photos through the engine, all at once; gives the tiles of each batch."""
    yield from run_to_the_end(runner, begin_all(runner, photos, steps))


def begin_all(runner: Runner, photos: Sequence[DecodedPhoto], steps: int) -> Engine:
    """An engine with these photos admitted, each looked at and set up in the runner."""
    engine = Engine(EnginePolicy(runner.batch_tiles))
    jobs = [(f"bench-{index}", photo, RestoreOptions(steps=steps, seed=index)) for index, photo in enumerate(photos)]
    look_ahead(runner, jobs)
    for name, photo, options in jobs:
        begun = runner.begin(name, photo, options)
        engine.add(JobShape(name, begun.tiles, begun.steps, state_bytes=begun.state_bytes))
    return engine


def look_ahead(runner: Runner, jobs: Sequence[tuple[str, DecodedPhoto, RestoreOptions]]) -> None:
    """Look at photos in groups before they begin, where the worker would."""
    size = runner.looks_together
    for first in range(0, len(jobs) if size > 1 else 0, size):
        runner.look(jobs[first : first + size])


def run_to_the_end(runner: Runner, engine: Engine) -> Iterator[int]:
    """Run batch after batch; gives the tiles of each."""
    while batch := engine.next_batch():
        report = runner.run(batch)
        for error in report.failed.values():
            raise error
        engine.limit_batch(runner.batch_tiles)  # smaller once memory has run out
        for job_id in engine.complete(report.ran):
            runner.end_step(job_id)
            if engine.step_done(job_id):
                runner.finish(job_id)
                engine.remove(job_id)
        yield len(batch)
