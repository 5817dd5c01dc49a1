"""Regions that patches are cut from."""

from __future__ import annotations

import dataclasses

import torch

from model.pipeline import Restorer
from model.train.captions import caption_table
from model.train.photos import Photo
from model.train.regions import RegionMaker, stack_features
from tests.unit.model.samples import generator


def build(restorer: Restorer, photos: list[Photo]) -> RegionMaker:
    table = caption_table(restorer.guidance, photos, 0)
    return RegionMaker(restorer.guidance, photos, table, torch.device("cpu"))


def test_regions_are_whole_repeatable_and_free_of_gradients(restorer: Restorer, photos: list[Photo]) -> None:
    maker = build(restorer, photos)
    kinds = ("noise", "low-light")
    regions, again = maker.make(3, 40, generator(), kinds), maker.make(3, 40, generator(), kinds)
    assert len(regions) == 3
    for region, twin in zip(regions, again, strict=True):
        assert region.degraded.shape == region.clean.shape == (3, 40, 40)
        assert region.mask.shape == (1, 40, 40)
        assert float(region.mask.sum()) == 0
        assert torch.equal(region.degraded, twin.degraded)
        assert not region.features.content.requires_grad
    stacked = stack_features([region.features for region in regions])
    for field in dataclasses.fields(stacked):
        assert getattr(stacked, field.name).shape[0] == 3


def test_holes_are_marked_in_about_half_of_the_regions(restorer: Restorer, photos: list[Photo]) -> None:
    regions = build(restorer, photos).make(40, 32, generator(1), ("inpainting",))
    marked = sum(bool(region.mask.any()) for region in regions)
    assert 8 <= marked <= 32
    for region in regions:
        assert bool((region.degraded[region.mask.expand(3, -1, -1) > 0] == 0.5).all())


def test_photos_too_small_for_a_region_are_passed_over(restorer: Restorer, photos: list[Photo]) -> None:
    bright = dataclasses.replace(photos[0], pixels=photos[0].pixels[:30] * 0 + 255)
    dark = dataclasses.replace(photos[1], pixels=photos[1].pixels * 0)
    regions = build(restorer, [bright, dark]).make(6, 40, generator(), ("low-light",))
    assert all(float(region.clean.max()) == 0 for region in regions)
