"""Stage one on several photos at once."""

from __future__ import annotations

import pytest
import torch

from model.config import load_config
from model.errors import ShapeError
from model.observe import Observation, observe_photos
from model.pipeline import Restorer

SIZES = ((40, 70), (96, 64), (64, 64), (33, 90), (80, 48))


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return Restorer.random(load_config("tiny"))


def photos() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 3, *size, generator=generator) for size in SIZES]


def observe(restorer: Restorer, images: list[torch.Tensor], group: int) -> list[Observation]:
    captions = [None, "a lake", None, None, "a cat"][: len(images)]
    return list(observe_photos(restorer.guidance, images, captions, restorer.device, group))


def test_groups_give_what_single_photos_give(restorer: Restorer) -> None:
    alone, together = observe(restorer, photos(), 1), observe(restorer, photos(), 4)
    assert len(alone) == len(together) == len(SIZES)
    for one, other in zip(alone, together, strict=True):
        assert one.caption == other.caption
        torch.testing.assert_close(one.features.degradation, other.features.degradation, rtol=0, atol=1e-4)
        torch.testing.assert_close(one.features.caption, other.features.caption, rtol=0, atol=1e-4)
        torch.testing.assert_close(one.features.patches, other.features.patches, rtol=0, atol=1e-4)


def test_company_changes_nothing_at_all_within_groups_of_one_size(restorer: Restorer) -> None:
    whole, part = observe(restorer, photos(), 4), observe(restorer, photos()[:2], 4)
    for one, other in zip(whole[:2], part, strict=True):
        assert one.caption == other.caption
        assert one.findings == other.findings
        assert torch.equal(one.features.degradation, other.features.degradation)


def test_given_captions_are_kept_and_others_written(restorer: Restorer) -> None:
    seen = observe(restorer, photos(), 4)
    assert [item.caption for item in seen][1::3] == ["a lake", "a cat"]
    assert all(item.caption not in ("a lake", "a cat") for item in (seen[0], seen[2], seen[3]))
    assert bool(seen[1].features.has_caption.all())


def test_a_batch_of_two_in_one_photo_is_refused(restorer: Restorer) -> None:
    with pytest.raises(ShapeError):
        observe(restorer, [torch.rand(2, 3, 64, 64)], 1)


def test_analyze_many_gives_what_analyze_gives(restorer: Restorer) -> None:
    images = photos()
    for image, analysis in zip(images, restorer.analyze_many(images, [None] * len(images)), strict=True):
        alone = restorer.analyze(image)
        assert alone.caption == analysis.caption
        assert torch.equal(alone.context.tokens, analysis.context.tokens)
