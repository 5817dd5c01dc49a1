"""Memory for uploads, and the part of it for batches."""

from __future__ import annotations

import pytest

from app.api.budget import UploadBudget
from app.errors import UploadsBusyError


def test_a_part_is_bounded_and_counts_in_the_whole() -> None:
    whole = UploadBudget(100)
    part = UploadBudget(50, whole=whole)
    with part.share() as first, part.share() as second:
        first.grow(40)
        assert (part.held_bytes, whole.held_bytes) == (40, 40)
        with pytest.raises(UploadsBusyError):
            second.grow(11)
        with whole.share() as other:
            other.grow(60)  # batches leave it this
            with pytest.raises(UploadsBusyError):
                second.grow(1)
        second.grow(10)
    assert (part.held_bytes, whole.held_bytes) == (0, 0)


def test_one_that_is_alone_may_be_larger() -> None:
    whole = UploadBudget(100)
    part = UploadBudget(50, whole=whole)
    with part.share() as share:
        share.grow(120)
        with whole.share() as other, pytest.raises(UploadsBusyError):
            other.expect(1)
    with whole.share() as other, part.share() as share:
        other.grow(1)
        with pytest.raises(UploadsBusyError):
            share.expect(120)
