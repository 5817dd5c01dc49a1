"""Does a photo come out the same in company as alone? Random mixes through engine and runner against each photo alone.

A batch may hold tiles of other photos, at other steps, in other numbers; arithmetic of a library may depend on the size
of the batch. What is left of that in the finished picture is counted here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from app.bench.decoded import make_decoded
from app.bench.engine import look_ahead
from app.bench.photos import Size
from app.jobs.job import RestoreOptions
from app.worker.engine import Engine, EnginePolicy, JobShape
from app.worker.pixels import to_array
from app.worker.runner import Runner

_MOST_BATCH = 16  # tiles: beyond what CPUs choose, so that all sizes of batches occur


@dataclass(frozen=True)
class Sample:
    """A photo of the pool: size, steps, seed of its noise and grain."""

    size: Size
    steps: int
    seed: int


@dataclass(frozen=True)
class Invariance:
    """Differences between photos restored in company and alone.

    Attributes:
        mixes: Mixes run.
        photos: Compared, over all mixes.
        pixels: Compared, over all mixes.
        largest: Largest difference of a value, in 1/255, before rounding; the goal is 1 at most.
        differing: Pixels of which any channel differs after rounding to 8 bits.
    """

    mixes: int
    photos: int
    pixels: int
    largest: float
    differing: int

    @property
    def differing_share(self) -> float:
        """Differing pixels over all; the goal on a CPU is 1e-5 at most."""
        return self.differing / self.pixels


def measure_invariance(
    runner: Runner, mixes: int, pool: Sequence[Sample], most_jobs: int = 5, seed: int = 0
) -> Iterator[Invariance]:
    """Run random mixes; gives the sums so far after each.

    Every mix draws 2 to `most_jobs` photos of the pool, the most tiles of a batch (1 to 16), and the moments at which
    photos join. What a photo looks like alone is computed once, on first use.

    Args:
        runner: Loaded.
        mixes: How many.
        pool: Photos to draw from, at least two.
        most_jobs: Photos in one mix, at least 2.
        seed: Of everything random.

    Raises:
        ValueError: The pool or the mixes are too small for company.
    """
    if len(pool) < 2 or most_jobs < 2:
        raise ValueError(f"got {len(pool)} photos and at most {most_jobs} per mix, expected at least 2 of both")
    draw = random.Random(seed)  # noqa: S311  repeatable, not secret
    alone: dict[Sample, torch.Tensor] = {}
    photos, pixels, largest, differing = 0, 0, 0.0, 0
    for mix in range(1, mixes + 1):
        samples = draw.sample(pool, draw.randint(2, min(most_jobs, len(pool))))
        results = restore_mix(runner, samples, draw.randint(1, _MOST_BATCH), draw)
        for sample, result in zip(samples, results, strict=True):
            if sample not in alone:
                alone[sample] = restore_mix(runner, [sample], runner.batch_tiles, draw)[0]
            largest = max(largest, float((result - alone[sample]).abs().max()) * 255)
            first, second = (to_array(image, np.dtype(np.uint8)) for image in (result, alone[sample]))
            differing += int((first != second).any(-1).sum())
            photos += 1
            pixels += first.shape[0] * first.shape[1]
        yield Invariance(mix, photos, pixels, largest, differing)


def draw_pool(count: int, most_side: int, most_steps: int, seed: int = 0) -> list[Sample]:
    """Photos with sides of 16 to `most_side` px and 1 to `most_steps` steps."""
    draw = random.Random(seed)  # noqa: S311  repeatable, not secret
    return [
        Sample((draw.randint(16, most_side), draw.randint(16, most_side)), draw.randint(1, most_steps), index)
        for index in range(count)
    ]


def restore_mix(runner: Runner, samples: Sequence[Sample], batch_tiles: int, draw: random.Random) -> list[torch.Tensor]:
    """Restore photos together, the first at once, the others joining between batches at random moments.

    Returns:
        Images (1, 3, H, W) in [0, 1], in the order of the samples.
    """
    engine = Engine(EnginePolicy(batch_tiles))
    coming = list(range(len(samples)))
    results: dict[str, torch.Tensor] = {}
    options = [RestoreOptions(steps=sample.steps, seed=sample.seed) for sample in samples]
    photos = [make_decoded(sample.size, sample.seed) for sample in samples]
    look_ahead(runner, [(str(index), photo, options[index]) for index, photo in enumerate(photos)])
    while coming or len(engine):
        while coming and (not len(engine) or draw.random() < 0.5):
            index = coming.pop(0)
            begun = runner.begin(str(index), photos[index], options[index])
            engine.add(JobShape(str(index), begun.tiles, begun.steps, state_bytes=begun.state_bytes))
        report = runner.run(engine.next_batch())
        for error in report.failed.values():
            raise error
        for job_id in engine.complete(report.ran):
            runner.end_step(job_id)
            if engine.step_done(job_id):
                results[job_id] = runner.finish(job_id).image
                engine.remove(job_id)
    return [results[str(index)] for index in range(len(samples))]
