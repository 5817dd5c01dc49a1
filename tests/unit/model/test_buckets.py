from __future__ import annotations

import pytest

from model.buckets import bucket_tiles


def test_forwards_have_an_even_number_of_places_that_doubles() -> None:
    assert [bucket_tiles(tiles) for tiles in (1, 2, 3, 4, 5, 8, 9, 64, 65)] == [2, 2, 4, 4, 8, 8, 16, 64, 128]


def test_no_forward_is_empty() -> None:
    with pytest.raises(ValueError, match="at least 1 tile, got 0"):
        bucket_tiles(0)
