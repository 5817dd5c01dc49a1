"""Steps by what was found: the largest number counts, and what is mild or unlikely does not."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.budget import LEAST_PROBABILITY, LEAST_SEVERITY, choose_steps, get_steps
from model.config import ModelConfig
from model.errors import ConfigError
from model.pipeline import Restorer
from model.state import Analysis, Finding
from tests.unit.model.samples import photo

CONFIG = ModelConfig(
    "x",
    steps={"fast": 1, "balanced": 2, "best": 4},
    steps_by_kind={"balanced": {"haze": 5, "noise": 1, "rain": 3, "inpainting": 6}},
)


def found(*kinds: str) -> list[Finding]:
    return [Finding(kind, 0.9, 0.6) for kind in kinds]


@pytest.mark.parametrize(
    ("kinds", "steps"),
    [
        ((), 2),  # nothing found
        (("blur",), 2),  # no number of its own
        (("noise",), 1),
        (("haze",), 5),
        (("noise", "rain"), 3),
        (("rain", "haze", "noise"), 5),
        (("noise", "blur"), 2),
    ],
)
def test_largest_number_among_the_kinds_found(kinds: tuple[str, ...], steps: int) -> None:
    assert choose_steps(CONFIG, "balanced", found(*kinds)) == steps


@pytest.mark.parametrize(
    ("probability", "severity", "steps"),
    [
        (LEAST_PROBABILITY, LEAST_SEVERITY, 5),
        (LEAST_PROBABILITY - 0.01, 1.0, 2),
        (1.0, LEAST_SEVERITY - 0.01, 2),
        (0.0, 0.0, 2),
    ],
)
def test_unlikely_and_mild_damage_does_not_count(probability: float, severity: float, steps: int) -> None:
    assert choose_steps(CONFIG, "balanced", [Finding("haze", probability, severity)]) == steps


def test_qualities_without_a_table_are_the_same_for_every_photo() -> None:
    assert choose_steps(CONFIG, "fast", found("haze")) == 1
    assert choose_steps(CONFIG, "best", found("haze")) == 4
    assert choose_steps(ModelConfig("y"), "balanced", found("haze")) == 2


def test_given_mask_is_a_hole_whatever_the_predictor_says() -> None:
    assert choose_steps(CONFIG, "balanced", found("noise"), has_holes=True) == 6


def test_budget_of_a_kind_that_does_not_exist_is_refused(restorer: Restorer) -> None:
    config = dataclasses.replace(restorer.config, steps_by_kind={"balanced": {"haze": 2, "fog": 2}})
    with pytest.raises(ConfigError, match=r"unknown kinds \['fog'\]; expected some of blur, haze"):
        Restorer(config, restorer.guidance, restorer.network)


@pytest.mark.parametrize("quality", ["great", "", "Balanced"])
def test_other_qualities_are_refused(quality: str) -> None:
    with pytest.raises(ConfigError, match="expected one of fast, balanced, best"):
        choose_steps(CONFIG, quality, ())
    with pytest.raises(ConfigError):
        get_steps(CONFIG, quality)


def test_restoration_takes_the_budget_unless_steps_are_given(restorer: Restorer) -> None:
    by_kind = {"balanced": {"haze": 3, "inpainting": 5}}
    config = dataclasses.replace(restorer.config, steps_by_kind=by_kind)
    thrifty = Restorer(config, restorer.guidance, restorer.network)
    image = photo(64, 64)
    plain = restorer.analyze(image)

    def analysis(kind: str) -> Analysis:
        return dataclasses.replace(plain, findings=(Finding(kind, 0.9, 0.5),))

    assert thrifty.restore(image, analysis=analysis("haze")).steps == 3
    assert thrifty.restore(image, analysis=analysis("noise")).steps == 2
    assert thrifty.restore(image, analysis=analysis("haze"), quality="fast").steps == 1
    assert thrifty.restore(image, analysis=analysis("haze"), steps=1).steps == 1
    mask = torch.zeros(1, 1, 64, 64)
    assert thrifty.choose_steps("balanced", analysis("noise"), mask) == 2  # an empty mask is no hole
    mask[..., :8, :8] = 1
    assert thrifty.choose_steps("balanced", analysis("noise"), mask) == 5
