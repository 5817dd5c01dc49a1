"""Suites of damage: named, repeatable, with a mask where something is missing."""

from __future__ import annotations

import pytest
import torch

from model.degradation.kinds import KINDS
from model.errors import ModelError
from model.evaluate.cases import MIXTURES, SYNTHETIC_SUITES, list_cases
from tests.unit.model.samples import photo

CLEAN = (photo(64, 72) * 255).round() / 255


@pytest.mark.parametrize("suite", SYNTHETIC_SUITES)
def test_every_case_repeats_itself_and_keeps_the_size(suite: str) -> None:
    for case in list_cases(suite):
        (damaged, mask), (again, _) = case.apply(CLEAN, 3), case.apply(CLEAN, 3)
        assert damaged.shape == CLEAN.shape, case.name
        assert torch.equal(damaged, again), case.name
        assert (mask is not None) == ("inpainting" in case.kinds)
        assert case.inside_mask == (case.kinds == ("inpainting",))
        assert torch.equal(damaged, CLEAN) == (suite == "clean")


def test_names_of_the_suites() -> None:
    assert [case.name for case in list_cases("denoise")] == ["noise sigma 15", "noise sigma 25", "noise sigma 50"]
    assert [case.name for case in list_cases("jpeg")] == [f"jpeg quality {quality}" for quality in (10, 20, 30, 40)]
    assert [case.name for case in list_cases("ten", 0.25)] == [f"{kind} 0.25" for kind in KINDS]
    several = [case.name for case in list_cases("ten", (0.25, 0.75))]
    assert several[:3] == ["blur 0.25", "blur 0.75", "haze 0.25"]
    assert [case.level for case in list_cases("mixtures", (0.25, 0.75))] == [0.25, 0.75] * len(MIXTURES)


def test_severity_grows_within_a_kind() -> None:
    for kind in KINDS:
        mild, strong = (case for case in list_cases("ten", (0.25, 0.75)) if case.kinds == (kind,))
        errors = [(case.apply(CLEAN, 0)[0] - CLEAN).square().mean() for case in (mild, strong)]
        assert 0 < errors[0] < errors[1], kind


def test_mixtures_hold_both_kinds() -> None:
    for case in list_cases("mixtures"):
        damaged = case.apply(CLEAN, 0)[0]
        for kind in case.kinds:
            alone = next(item for item in list_cases("ten") if item.kinds == (kind,))
            assert not torch.equal(damaged, alone.apply(CLEAN, 0)[0]), case.name


def test_the_noise_that_baselines_are_told_is_the_noise_there_is() -> None:
    noisy = sum("noise" in pair for pair in MIXTURES)
    known = [
        case
        for suite in ("denoise", "ten", "steps", "mixtures")
        for case in list_cases(suite, 0.4)
        if case.sigma is not None
    ]
    assert [case.sigma for case in known] == pytest.approx([15, 25, 50, 30, 25, *[30] * noisy])


def test_noise_is_of_the_strength_named_and_not_clipped() -> None:
    for case, sigma in zip(list_cases("denoise"), (15, 25, 50), strict=True):
        noise = case.apply(torch.zeros(1, 3, 128, 128), 0)[0]
        assert float(noise.std()) * 255 == pytest.approx(sigma, rel=0.02)
        assert noise.min() < 0


def test_photos_get_different_noise() -> None:
    case = next(list_cases("denoise"))
    assert not torch.equal(case.apply(CLEAN, 0)[0], case.apply(CLEAN, 1)[0])


def test_the_ten_are_damaged_as_a_file_would_hold_them() -> None:
    for case in list_cases("ten"):
        damaged, mask = case.apply(CLEAN, 0)
        assert float((damaged * 255 - (damaged * 255).round()).abs().max()) < 1e-3
        assert damaged.min() >= 0
        assert damaged.max() <= 1
        if mask is not None:
            assert 0 < float(mask.mean()) < 1


def test_unknown_suites_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="'deblur': expected one of ten, denoise, jpeg, clean"):
        list(list_cases("deblur"))


def test_severity_zero_has_no_holes_to_measure_in() -> None:
    for case in (*list_cases("ten", 0), *list_cases("mixtures", 0)):
        damaged, mask = case.apply(CLEAN, 0)
        assert mask is None, case.name
        assert not case.inside_mask, case.name
        torch.testing.assert_close(damaged, CLEAN)
