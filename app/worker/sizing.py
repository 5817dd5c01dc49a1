"""How many tiles one forward takes: as many as pay, within a limit and the memory there is.

The model fills forwards up to a power of two (`model.buckets`), so all sizes here are powers of two: another limit
would pay for places that stay empty in every full batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from app.worker.failures import empty_device_cache

AUTOMATIC = 0
"""In place of a limit on the tiles of a forward: the device's own."""

USUAL_TILES = 8
"""Limit where none is given, and tiles per forward where nothing was measured, unless the device says otherwise."""

MOST_TILES = {"cuda": 64}
"""Limit by kind of device where none is given: a data-centre GPU is not full with 8 tiles."""

UNMEASURED_TILES = {"cpu": 2}
"""Tiles per forward where nothing was measured, by kind of device: on a CPU the fewest that give the same bits as any
other even number."""

SAMPLES = 3
"""Forwards of each size that are timed; the fastest counts, since whatever disturbs one only adds time."""

LEAST_GAIN = 0.97
"""A larger batch must bring the time per tile below this part of the smaller one's to be used."""

FORWARD_SHARE = 0.3
"""Part of a GPU's memory beside the models that forwards may take; photos in progress need the rest."""


def floor_power(tiles: int) -> int:
    """The largest power of two that is not above `tiles`, which is at least 1."""
    return 1 << (tiles.bit_length() - 1)


def halve(tiles: int) -> int:
    """The largest power of two below `tiles`, which is at least 2: places of the next smaller forward."""
    return floor_power(tiles - 1)


def most_tiles(wanted: int, device: torch.device) -> int:
    """Most tiles in one forward on a device; `wanted` is a limit, rounded down, or `AUTOMATIC`."""
    return floor_power(wanted if wanted != AUTOMATIC else MOST_TILES.get(device.type, USUAL_TILES))


def unmeasured_tiles(most: int, device: torch.device) -> int:
    """Tiles per forward where nothing was measured yet, `most` at most."""
    return min(most, UNMEASURED_TILES.get(device.type, USUAL_TILES))


def find_batch_tiles(time_tile: Callable[[int], float], most: int, fits: Callable[[int], bool]) -> tuple[int, float]:
    """Try forwards of 2, 4, 8, ... tiles until a larger one does not pay or does not fit.

    On a CPU larger batches may be slower per tile, because their activations leave the cache; a GPU has a size at which
    it is full. Smaller batches also let a new job in sooner.

    Args:
        time_tile: Runs a forward of so many tiles; gives the seconds per tile.
        most: Limit, a power of two.
        fits: Whether a forward of so many tiles, which was just run, leaves enough memory.

    Returns:
        Tiles, a power of two and at most `most`, and the seconds per tile.
    """
    size, best_s = 2, _fastest(time_tile, 2)
    has_room = fits(size)
    while has_room and 2 * size <= most:
        tile_s, has_room = _fastest(time_tile, 2 * size), fits(2 * size)
        if tile_s > best_s * LEAST_GAIN or not has_room:
            break
        size, best_s = 2 * size, tile_s
    return min(size, most), best_s


def sizes_up_to(tiles: int) -> Iterator[int]:
    """2, 4, 8, ... up to `tiles`."""
    return (1 << power for power in range(1, tiles.bit_length()))


def free_beside_graphs(device: torch.device) -> int | None:
    """Memory of a GPU that is free beside all captured graphs, in bytes; None where forwards keep none."""
    if device.type != "cuda":
        return None
    empty_device_cache()
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return free_bytes


def leaves_room(free_before: int | None, free_now: int | None, device_share: float) -> bool:
    """Whether forwards took no more than their part of the memory that was free before; see `free_beside_graphs`.

    Args:
        free_before: Without any captured graph.
        free_now: With those of the forwards.
        device_share: Part of the device that this worker may plan with.
    """
    if free_before is None or free_now is None:
        return True
    return free_before - free_now <= free_before * device_share * FORWARD_SHARE


def _fastest(time_tile: Callable[[int], float], size: int) -> float:
    return min(time_tile(size) for _ in range(SAMPLES))
