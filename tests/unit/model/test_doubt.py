"""Findings that are taken back: too unsure for what a false alarm costs, or refuted by the pixels."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.config import ModelConfig, load_config
from model.degradation.kinds import KINDS
from model.errors import ConfigError
from model.observe import Observation
from model.pipeline import Restorer


def photo(holes: bool = False) -> torch.Tensor:
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    if holes:
        image[..., 30:60, 20:70] = 1.0
    return image


@pytest.fixture
def restorer() -> Restorer:
    return Restorer.random(load_config("tiny"))


def sure_of_holes(restorer: Restorer) -> Restorer:
    column = KINDS.index("inpainting")
    predictor = restorer.guidance.predictor.state_dict()  # shares memory with the parameters
    predictor["bias"][column] = 50.0
    predictor["to_severity.2.bias"][column] = 5.0
    return restorer


def finding(seen: Observation, kind: str) -> tuple[float, float]:
    item = seen.findings[KINDS.index(kind)]
    return item.probability, item.severity


def with_least(restorer: Restorer, **least: float) -> Restorer:
    config = dataclasses.replace(restorer.config, least_probability=least)
    restorer.guidance.config = config
    return restorer


def test_kinds_below_their_least_probability_count_as_absent_and_others_stay(restorer: Restorer) -> None:
    before = restorer.observe(photo())
    after = with_least(restorer, shadow=1.0, rain=0.0).observe(photo())
    assert finding(before, "shadow")[0] > 0
    assert finding(after, "shadow") == (0.0, 0.0)
    assert finding(after, "rain") == finding(before, "rain")
    column = KINDS.index("shadow")
    assert float(after.features.severities[0, column]) == 0
    others = [index for index in range(len(KINDS)) if index != column]
    assert torch.equal(after.features.severities[:, others], before.features.severities[:, others])
    assert not torch.equal(after.features.degradation, before.features.degradation)


def test_holes_that_are_not_to_be_seen_are_taken_back(restorer: Restorer) -> None:
    seen = sure_of_holes(restorer).observe(photo())
    assert finding(seen, "inpainting") == (0.0, 0.0)
    assert seen.holes is None


def test_holes_that_are_to_be_seen_are_kept_and_filled(restorer: Restorer) -> None:
    analysis = sure_of_holes(restorer).analyze(photo(holes=True))
    assert analysis.findings[KINDS.index("inpainting")].probability > 0.9
    assert analysis.holes is not None
    assert bool(analysis.holes[..., 35:55, 25:65].all())
    state = restorer.begin(photo(holes=True), analysis, steps=1)
    assert state.mask is not None
    assert state.analysis.holes is None  # the state has its own


def test_what_a_caller_tells_is_not_doubted(restorer: Restorer) -> None:
    doubting = with_least(restorer, shadow=1.0)
    analysis = doubting.analyze_many([photo()], [None], [("shadow",)])[0]
    assert analysis.findings[KINDS.index("shadow")].probability == 1.0


@pytest.mark.parametrize("least", [{"shadow": 1.5}, {"shadow": -0.1}])
def test_probabilities_out_of_range_are_refused(least: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="least_probability"):
        ModelConfig(name="x", least_probability=least)


def test_unknown_kinds_are_refused(restorer: Restorer) -> None:
    config = dataclasses.replace(restorer.config, least_probability={"fog": 0.5})
    with pytest.raises(ConfigError, match="fog"):
        Restorer(config, restorer.guidance, restorer.network)
