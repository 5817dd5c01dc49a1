"""What a caller says is wrong with a photo takes the place of what the predictor says."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from model.config import load_config
from model.degradation.kinds import KINDS
from model.degradation.override import CERTAIN_LOGIT, TOLD_SEVERITY, move_degradation, tell_kinds
from model.errors import UnknownKindError
from model.pipeline import Restorer
from model.state import Finding


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return Restorer.random(load_config("tiny"))


def photo(seed: int = 0, height: int = 64, width: int = 80) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def read(restorer: Restorer, degradation: torch.Tensor) -> dict[str, float]:
    predictor = restorer.guidance.predictor
    names = F.normalize(predictor.get_buffer("names") + predictor.name_shift, dim=-1)
    logits = predictor.log_scale.exp() * degradation @ names.T + predictor.bias
    return dict(zip(KINDS, logits[0].tolist(), strict=True))


@pytest.mark.parametrize("kinds", [(), ("rain",), ("blur", "noise", "inpainting"), KINDS])
def test_the_embedding_reads_as_told_and_moves_no_further(restorer: Restorer, kinds: tuple[str, ...]) -> None:
    own = restorer.observe(photo()).features.degradation
    moved = move_degradation(own, restorer.guidance.predictor, kinds)
    for kind, logit in read(restorer, moved).items():
        if kind in kinds:
            assert logit >= CERTAIN_LOGIT - 1e-3
        else:
            assert logit <= -CERTAIN_LOGIT + 1e-3
    again = move_degradation(moved, restorer.guidance.predictor, kinds)
    torch.testing.assert_close(again, moved, rtol=0, atol=1e-4)


def test_named_kinds_keep_a_severity_above_the_floor_and_others_have_none(restorer: Restorer) -> None:
    features = restorer.observe(photo()).features
    found = tuple(Finding(kind, 0.5, severity=index / 10) for index, kind in enumerate(KINDS))
    told, findings = tell_kinds(features, found, restorer.guidance.predictor, {"blur", "inpainting"})
    assert findings[0] == Finding("blur", 1.0, TOLD_SEVERITY)
    assert findings[-1] == Finding("inpainting", 1.0, 0.9)
    assert all(item == Finding(item.kind, 0.0, 0.0) for item in findings[1:-1])
    assert told.severities[0].tolist() == pytest.approx([item.severity for item in findings])
    assert torch.equal(told.content, features.content)
    assert torch.equal(told.caption, features.caption)


def test_each_photo_of_a_group_is_told_its_own(restorer: Restorer) -> None:
    images = [photo(0), photo(1, 70, 66), photo(2)]
    kinds = [("rain",), None, ()]
    for image, named, analysis in zip(images, kinds, restorer.analyze_many(images, ["a"] * 3, kinds), strict=True):
        alone = restorer.analyze(image, "a", named)
        assert alone.findings == analysis.findings
        assert torch.equal(alone.context.embedding, analysis.context.embedding)
    plain, told = restorer.analyze(photo(), "a"), restorer.analyze(photo(), "a", ["rain"])
    assert not torch.equal(plain.context.embedding, told.context.embedding)
    assert [item.kind for item in told.findings if item.probability > 0.5] == ["rain"]


def test_holes_are_looked_for_when_told_and_not_otherwise(restorer: Restorer) -> None:
    image = photo(3)
    image[:, :, 20:40, 20:40] = 0.0
    assert restorer.begin(image.clone(), restorer.analyze(image, "a", ["inpainting"]), steps=1).mask is not None
    assert restorer.begin(image.clone(), restorer.analyze(image, "a", []), steps=1).mask is None


def test_a_word_that_is_no_kind_is_refused(restorer: Restorer) -> None:
    with pytest.raises(UnknownKindError, match="scratches"):
        restorer.analyze(photo(), "a", ["scratches"])
