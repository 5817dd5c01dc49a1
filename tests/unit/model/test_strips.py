"""Strips of a photo: every row once, whatever the device."""

from __future__ import annotations

import torch

from model.strips import strips


def test_strips_suit_the_device() -> None:
    for image, count in ((torch.empty(3, 100, 8), 7), (torch.empty(3, 6000, 4000, device="meta"), 12)):
        rows = [row for strip in strips(image) for row in strip]
        assert rows == list(range(image.shape[1]))
        assert len(list(strips(image))) == count
    assert [strip.start for strip in strips(torch.empty(3, 100, 8), 64)] == [64, 80, 96]
