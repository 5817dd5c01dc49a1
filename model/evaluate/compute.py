"""What a restoration costs: arithmetic, time, memory; and whether company changes a result."""

from __future__ import annotations

import resource
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.pipeline import Restorer


def measure_compute(restorer: Restorer, side: int = 512, quality: str = "balanced") -> dict[str, float]:
    """Seconds and TFLOP per megapixel of one square photo, everything included (captions too).

    Args:
        restorer: The model.
        side: Of the photo, px.
        quality: Whose default steps are used.
    """
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    steps = restorer.default_steps(quality)
    restorer.restore(image, steps=1)  # first calls allocate
    started = time.perf_counter()
    restorer.restore(image, steps=steps)
    seconds = time.perf_counter() - started
    with FlopCounterMode(display=False) as counter:
        restorer.restore(image, steps=steps)
    megapixels = side * side / 1e6
    return {
        "side_px": side,
        "steps": steps,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "tflop_per_megapixel": counter.get_total_flops() / 1e12 / megapixels,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure_company(restorer: Restorer, side: int | None = None, steps: int = 2) -> dict[str, float]:
    """The same photo and seed alone, again, and in batches shared with seven others.

    Args:
        restorer: The model.
        side: Height of the photos, px; None takes a little more than a tile (300 for tiles of 256).
        steps: Denoising steps.

    Returns:
        Largest difference of the 8-bit results (in 1/255) and pixels that differ per 100,000.
    """
    side = restorer.tile_px * 75 // 64 if side is None else side
    generator = torch.Generator().manual_seed(0)
    photos = [torch.rand(1, 3, side, side + 8 * index, generator=generator) for index in range(8)]
    alone = _to_bytes(restorer.restore(photos[0], steps=steps, seed=5).image)
    again = _to_bytes(restorer.restore(photos[0], steps=steps, seed=5).image)
    states = [
        restorer.begin(photo, restorer.analyze(photo), steps=steps, seed=5 + index)
        for index, photo in enumerate(photos)
    ]
    while not all(state.is_done for state in states):
        tiles = [
            (state, index) for index in range(max(s.tiles for s in states)) for state in states if index < state.tiles
        ]
        for first in range(0, len(tiles), 8):
            restorer.forward_tiles(tiles[first : first + 8])
        for state in states:
            restorer.finish_step(state)
    beside = _to_bytes(restorer.finish(states[0]).image)
    figures = {}
    for name, other in (("twice", again), ("beside_seven", beside)):
        difference = (alone - other).abs()
        figures[f"{name}_largest"] = float(difference.max())
        figures[f"{name}_pixels_per_100000"] = float((difference.amax(1) > 0).float().mean() * 100_000)
    return figures


def _to_bytes(image: torch.Tensor) -> torch.Tensor:
    return (image * 255).round().int()
