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

from app.bench.network import make_forward, wait_for
from app.images import Photo
from app.jobs.job import RestoreOptions
from app.worker.engine import Engine, EnginePolicy, JobShape
from app.worker.pixels import to_tensor
from app.worker.runner import Runner
from app.worker.stages import DecodedPhoto
from app.worker.workbench import padded_tiles
from model.diffusion.context import Context
from model.vlm.views import mirror_to

Size = tuple[int, int]

STATIC_BATCH = 4
"""Photos that static batching waits for."""


@dataclass(frozen=True)
class WayRow:
    """One way to serve a set of photos.

    Attributes:
        way: Name.
        seconds: Median wall time for all photos, analysis included.
        forwards: Tiles, or whole photos where it does not tile, that went through the network, counted per step.
        megapixels_per_s: Photos' pixels over the time.
    """

    way: str
    seconds: float
    forwards: int
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
        engine = _begin_all(runner, make_photos(sizes), steps)
        batch_sizes = []
        started = time.perf_counter()
        for batch in _run_to_the_end(runner, engine):
            batch_sizes.append(batch)
        wait_for(runner.restorer.device)
        engine_s.append(time.perf_counter() - started)
        buckets = [size + padded_tiles(size) for size in batch_sizes]
        for bucket in set(buckets) - set(forwards):
            forwards[bucket] = make_forward(runner.restorer, bucket)
            forwards[bucket]()
        started = time.perf_counter()
        for bucket in buckets:
            forwards[bucket]()
        wait_for(runner.restorer.device)
        network_s.append(time.perf_counter() - started)
    return Overhead(statistics.median(engine_s), statistics.median(network_s), sum(batch_sizes), len(batch_sizes))


def compare_ways(runner: Runner, sizes: Sequence[Size], steps: int, rounds: int = 3) -> list[WayRow]:
    """Serve the same photos in four ways.

    - step-level batching: the engine, all photos at once;
    - one at a time: the engine, one photo after the other;
    - static batches of equals: up to `STATIC_BATCH` whole photos of one size per forward, through all steps together;
    - plain pipeline loop: whole photos, one after the other, as a diffusers pipeline does.

    The last two do not tile, so their memory grows with the photo.
    """
    ways: dict[str, Callable[[Sequence[DecodedPhoto]], int]] = {
        "step-level batching": lambda photos: _together(runner, photos, steps),
        "one at a time": lambda photos: sum(_together(runner, [photo], steps) for photo in photos),
        "static batches of equals": lambda photos: sum(
            _whole(runner, group, steps) for group in _equals(photos, STATIC_BATCH)
        ),
        "plain pipeline loop": lambda photos: sum(_whole(runner, [photo], steps) for photo in photos),
    }
    photos = make_photos(sizes)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    forwards = {}
    for _ in range(rounds):
        for name, way in ways.items():
            fresh = [DecodedPhoto(photo.photo, photo.image.clone(), None) for photo in photos]  # a state may keep them
            started = time.perf_counter()
            forwards[name] = way(fresh)
            wait_for(runner.restorer.device)
            spent[name].append(time.perf_counter() - started)
    megapixels = sum(width * height for width, height in sizes) / 1e6
    return [
        WayRow(name, statistics.median(times), forwards[name], megapixels / statistics.median(times))
        for name, times in spent.items()
    ]


def make_photos(sizes: Sequence[Size]) -> list[DecodedPhoto]:
    """Photos of slopes and grain: the time does not depend on what a photo shows."""
    return [_decoded(width, height, index) for index, (width, height) in enumerate(sizes)]


def _together(runner: Runner, photos: Sequence[DecodedPhoto], steps: int) -> int:
    engine = _begin_all(runner, photos, steps)
    return sum(_run_to_the_end(runner, engine))


def _begin_all(runner: Runner, photos: Sequence[DecodedPhoto], steps: int) -> Engine:
    engine = Engine(EnginePolicy(runner.batch_tiles))
    for index, photo in enumerate(photos):
        name = f"bench-{index}"
        begun = runner.begin(name, photo, RestoreOptions(steps=steps, seed=index))
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


@torch.inference_mode()
def _whole(runner: Runner, photos: Sequence[DecodedPhoto], steps: int) -> int:
    """Restore whole photos of one size together, without tiles; gives the photos it forwarded, counted per step.

    Sides are mirrored up to what the network takes.
    """
    restorer = runner.restorer
    unit = restorer.config.network.stem_factor * 2 ** (len(restorer.config.network.widths) - 1)
    contexts = [restorer.analyze(photo.image).context for photo in photos]
    context = Context(torch.cat([c.tokens for c in contexts]), torch.cat([c.embedding for c in contexts]))
    image = torch.cat([photo.image for photo in photos]).to(restorer.device)
    height, width = (-(-side // unit) * unit for side in image.shape[2:])
    image = mirror_to(image, height, width)
    restorer.scheduler.set_timesteps(steps)
    times = [*restorer.scheduler.timesteps.tolist(), 0]
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).to(restorer.device)
    state, mask = image + restorer.scheduler.noise_level * noise, torch.zeros_like(image[:, :1])
    half = restorer.device.type == "cuda"
    for now, following in itertools.pairwise(times):
        at = torch.full((len(photos),), now, device=restorer.device)
        with torch.autocast(restorer.device.type, torch.bfloat16, enabled=half):
            estimate = restorer.network(state, image, mask, at, context)
        stepped = restorer.scheduler.step(
            estimate.float().clamp(0, 1), now, state, image, previous_timestep=following, return_dict=False
        )
        state = stepped[0]
    return len(photos) * steps


def _equals(photos: Sequence[DecodedPhoto], most: int) -> Iterator[list[DecodedPhoto]]:
    """Groups of up to `most` photos of one size."""
    by_size: dict[tuple[int, ...], list[DecodedPhoto]] = {}
    for photo in photos:
        by_size.setdefault(tuple(photo.image.shape), []).append(photo)
    for equals in by_size.values():
        for first in range(0, len(equals), most):
            yield equals[first : first + most]


def _decoded(width: int, height: int, seed: int) -> DecodedPhoto:
    rows, columns = np.mgrid[0:height, 0:width]
    grain = np.random.default_rng(seed).integers(0, 32, (height, width, 3))
    pixels = (np.stack([rows, columns, rows + columns], -1) % 224 + grain).astype(np.uint8)
    return DecodedPhoto(Photo(pixels, None, False, None, None, "png"), to_tensor(pixels), None)
