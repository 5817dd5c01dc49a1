"""How many places a forward has: the one rule for whoever fills, warms up or counts batches."""

from __future__ import annotations


def bucket_tiles(tiles: int) -> int:
    """Give the places of the forward that a number of tiles runs in: 2, 4, 8, ...

    Convolutions on a CPU give the same bits for those sizes but not for one tile alone, and results must not depend on
    company; on CUDA one graph per size is captured.

    Args:
        tiles: At least 1.

    Raises:
        ValueError: There are fewer.
    """
    if tiles < 1:
        raise ValueError(f"a forward needs at least 1 tile, got {tiles}")
    return max(2, 1 << (tiles - 1).bit_length())
