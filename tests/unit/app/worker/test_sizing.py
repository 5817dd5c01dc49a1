"""The size of batches, on machines made of numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from app.worker.sizing import (
    AUTOMATIC,
    FORWARD_SHARE,
    SAMPLES,
    find_batch_tiles,
    floor_power,
    free_beside_graphs,
    halve,
    leaves_room,
    most_tiles,
    sizes_up_to,
    unmeasured_tiles,
)

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


def machine(seconds: dict[int, float]) -> tuple[Callable[[int], float], list[int]]:
    """A clock for forwards that take so long per tile, and what was run on it."""
    ran: list[int] = []

    def time_tile(size: int) -> float:
        ran.append(size)
        return seconds[size]

    return time_tile, ran


def test_sizes_are_powers_of_two() -> None:
    assert [floor_power(tiles) for tiles in (1, 2, 3, 7, 8, 12)] == [1, 2, 2, 4, 8, 8]
    assert [halve(tiles) for tiles in (2, 3, 4, 7, 8, 9)] == [1, 2, 2, 4, 4, 8]
    assert list(sizes_up_to(16)) == [2, 4, 8, 16]
    assert list(sizes_up_to(1)) == []


def test_limit_is_the_one_given_or_the_devices_own() -> None:
    assert [most_tiles(AUTOMATIC, device) for device in (CPU, CUDA, MPS)] == [8, 64, 8]
    assert [most_tiles(12, device) for device in (CPU, CUDA, MPS)] == [8, 8, 8]
    assert most_tiles(1000, CUDA) == 512
    assert [unmeasured_tiles(64, device) for device in (CPU, CUDA, MPS)] == [2, 8, 8]
    assert unmeasured_tiles(1, CPU) == unmeasured_tiles(1, CUDA) == 1


@pytest.mark.parametrize(
    ("seconds", "most", "expected"),
    [
        ({2: 1.0, 4: 1.1}, 8, 2),
        ({2: 1.0, 4: 0.8, 8: 0.79}, 64, 4),  # hardly anything gained
        ({2: 1.0, 4: 0.6, 8: 0.4, 16: 0.3, 32: 0.25, 64: 0.2}, 64, 64),
        ({2: 1.0, 4: 0.6}, 4, 4),
        ({2: 1.0}, 2, 2),
        ({2: 1.0}, 1, 1),
    ],
)
def test_batches_grow_as_long_as_that_pays(seconds: dict[int, float], most: int, expected: int) -> None:
    time_tile, ran = machine(seconds)
    assert find_batch_tiles(time_tile, most, lambda size: True) == (expected, seconds[max(2, expected)])
    assert ran == [size for size in seconds for _ in range(SAMPLES)]


def test_one_disturbed_forward_decides_nothing() -> None:
    """A first call that is slow, or a neighbour that wakes up, is not the size's fault."""
    times = {2: [9.0, 1.0, 1.1], 4: [5.0, 0.7, 4.0], 8: [0.9, 0.9, 0.9]}
    assert find_batch_tiles(lambda size: times[size].pop(0), 8, lambda size: True) == (4, 0.7)


def test_batches_do_not_grow_beyond_the_memory() -> None:
    seconds = {2: 1.0, 4: 0.5, 8: 0.25, 16: 0.1}
    assert find_batch_tiles(machine(seconds)[0], 16, lambda size: size <= 4) == (4, 0.5)
    assert find_batch_tiles(machine(seconds)[0], 16, lambda size: False) == (2, 1.0)


def test_forwards_leave_most_of_a_gpu_to_photos() -> None:
    taken = int(1000 * FORWARD_SHARE)
    assert leaves_room(1000, 1000 - taken, 1.0)
    assert not leaves_room(1000, 999 - taken, 1.0)
    assert not leaves_room(1000, 1000 - taken, 0.5)
    assert free_beside_graphs(CPU) is None
    assert leaves_room(None, None, 1.0)
