"""Classical methods help with what they are meant for."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from model.degradation.kinds import KINDS
from model.evaluate.baselines import Hint, find_missing, list_baselines
from model.evaluate.cases import MIXTURES, list_cases
from model.evaluate.dark_channel import dark_channel, estimate_airlight, remove_haze
from model.evaluate.optional import MissingPackageError, import_cv2
from model.evaluate.restoration import ClassicalMethod
from model.evaluate.samples import Sample
from model.evaluate.scores import psnr
from tests.unit.model.samples import photo

CLEAN = (photo(96, 96) * 255).round() / 255


def gains(kind: str, severity: float) -> dict[str, float]:
    case = next(case for case in list_cases("ten", severity) if case.kinds == (kind,))
    damaged, mask = case.apply(CLEAN, 0)
    region = mask if case.inside_mask else None
    sample = Sample(damaged, CLEAN, mask, 0)
    return {
        item.name: psnr(ClassicalMethod(item).restore(sample, case)[0], CLEAN, region) - psnr(damaged, CLEAN, region)
        for item in list_baselines((kind,))
    }


@pytest.mark.parametrize(
    ("kind", "name", "least"),
    [
        ("noise", "non-local means", 5),
        ("jpeg", "bilateral", 0.2),
        ("low-light", "gamma", 2),
        ("inpainting", "Telea inpainting", 8),
        ("rain", "despeckle", 1),
        ("snow", "despeckle", 0.5),
    ],
)
def test_each_helps_with_its_own_kind(kind: str, name: str, least: float) -> None:
    assert gains(kind, 0.6)[name] > least


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_one_and_it_keeps_size_and_range(kind: str) -> None:
    case = next(case for case in list_cases("ten", 0.5) if case.kinds == (kind,))
    damaged, mask = case.apply(photo(50, 70), 0)
    for item in list_baselines((kind,)):
        restored, steps = ClassicalMethod(item).restore(Sample(damaged, None, mask, 0), case)
        assert restored.shape == damaged.shape
        assert 0 <= float(restored.min()) <= float(restored.max()) <= 1
        assert steps is None


def test_what_is_right_already_is_left_alone_by_filters_for_sharpness() -> None:
    flat = np.full((64, 64, 3), 0.4, np.float32)
    hint = Hint(0, np.zeros((64, 64), np.uint8))
    for item in list_baselines(("blur",)):
        np.testing.assert_allclose(item.run(flat, hint), flat, atol=1e-5)


def test_mixtures_are_repaired_in_turn_last_damage_first() -> None:
    assert [item.name for item in list_baselines(("noise", "jpeg"))] == [
        "bilateral",
        "non-local means",
        "bilateral, non-local means",
    ]
    assert [item.name for item in list_baselines(("noise", "inpainting"))][-1] == "Telea inpainting, non-local means"
    assert all(list_baselines(pair) for pair in MIXTURES)
    assert list_baselines(()) == []


def test_bm3d_is_named_when_it_is_left_out() -> None:
    names = [item.name for item in list_baselines(("noise",))]
    assert ("BM3D" in names) != ("BM3D" in find_missing())


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackageError, match=r"cv2 is not installed; pip install 'vlmir\[eval\]'"):
        import_cv2()


def test_dark_channel_is_the_darkest_value_around() -> None:
    image = np.full((40, 40, 3), 0.8, np.float32)
    image[20, 20, 1] = 0.1
    found = dark_channel(image)
    assert found[20, 20] == found[13, 27] == np.float32(0.1)
    assert found[12, 20] == np.float32(0.8)


def test_airlight_is_the_colour_of_the_haziest_place() -> None:
    image = np.zeros((64, 64, 3), np.float32)
    image[:20, :, :] = [0.8, 0.85, 0.9]
    image[50, 50] = 1.0  # a lamp: brighter, but small
    np.testing.assert_allclose(estimate_airlight(image), [0.8, 0.85, 0.9], atol=1e-6)


def test_haze_goes_away() -> None:
    scene = torch.zeros(1, 3, 96, 96)
    scene[..., ::8, :] = photo(96, 96)[..., ::8, :]  # dark gaps nearby everywhere: what the prior expects of scenes
    case = next(case for case in list_cases("ten", 0.6) if case.kinds == ("haze",))
    hazy = case.apply(scene, 1)[0]
    restored = torch.from_numpy(remove_haze(hazy[0].permute(1, 2, 0).numpy())).permute(2, 0, 1)[None]
    assert psnr(restored, scene) > psnr(hazy, scene) + 5
