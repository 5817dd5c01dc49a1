from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.degradation.errors import DegradationError
from model.degradation.kinds import KINDS
from model.degradation.synthesis import degrade
from model.errors import UnknownKindError
from tests.unit.model.degradation.photos import photos, psnr, seeded

CLIPPED = [kind for kind in KINDS if kind != "noise"]


@pytest.mark.parametrize("kind", KINDS)
def test_damage_grows_with_severity(kind: str) -> None:
    clean = photos(6)
    levels = [
        float(psnr(degrade(clean, kind, severity, generator=seeded(3)).image, clean).mean())
        for severity in (0.1, 0.3, 0.5, 0.7, 1.0)
    ]
    assert levels == sorted(levels, reverse=True), levels
    assert levels[0] - levels[-1] > 3.0, levels
    # Far from perfect at 1, and not yet destroyed at 0.1.
    assert levels[0] > 15.0, levels
    assert levels[-1] < 30.0, levels


@pytest.mark.parametrize("kind", KINDS)
def test_severity_zero_changes_nothing_and_leaves_batch_mates_damaged(kind: str) -> None:
    clean = photos(3)
    result = degrade(clean, kind, torch.tensor([0.0, 0.8, 0.0]), generator=seeded(1))
    assert torch.equal(result.image[[0, 2]], clean[[0, 2]])
    assert not torch.equal(result.image[1], clean[1])
    assert result.mask[[0, 2]].sum() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_everything(kind: str) -> None:
    clean = photos(2)
    first = degrade(clean, kind, 0.6, generator=seeded(5))
    again = degrade(clean, kind, 0.6, generator=seeded(5))
    other = degrade(clean, kind, 0.6, generator=seeded(6))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.image, other.image)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_a_batch_get_different_damage(kind: str) -> None:
    clean = photos(1).expand(4, -1, -1, -1).contiguous()
    result = degrade(clean, kind, 0.7, generator=seeded(2)).image
    if kind == "jpeg":
        assert torch.equal(result[0], result[1])  # its only randomness is the place of the grid, one per call
    else:
        assert len({float(sample.sum()) for sample in result}) == 4


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    batch=st.integers(1, 3),
    severity=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**31),
)
def test_any_shape_and_severity_gives_a_picture_of_that_shape(
    kind: str, height: int, width: int, batch: int, severity: float, seed: int
) -> None:
    clean = torch.rand(batch, 3, height, width, generator=seeded(seed))
    result = degrade(clean, kind, severity, generator=seeded(seed))
    assert result.image.shape == clean.shape
    assert result.image.dtype == clean.dtype
    assert result.mask.shape == (batch, 1, height, width)
    assert bool(result.image.isfinite().all())
    assert set(result.mask.flatten().tolist()) <= {0.0, 1.0}
    if kind != "inpainting":
        assert result.mask.sum() == 0
    if kind != "noise":
        assert float(result.image.min()) >= -1e-5
        assert float(result.image.max()) <= 1.0 + 1e-5


@pytest.mark.parametrize("kind", CLIPPED)
def test_values_outside_the_range_from_earlier_noise_do_no_harm(kind: str) -> None:
    noisy = photos(2) + torch.randn(2, 3, 64, 72, generator=seeded(0)) * 0.5
    result = degrade(noisy, kind, 0.5, generator=seeded(0)).image
    assert bool(result.isfinite().all())


def test_half_precision_in_gives_half_precision_out() -> None:
    result = degrade(photos(1).half(), "blur", 0.5, generator=seeded(0))
    assert result.image.dtype == torch.float16
    assert bool(result.image.isfinite().all())


def test_the_input_is_not_written_to() -> None:
    clean = photos(2)
    before = clean.clone()
    for kind in KINDS:
        degrade(clean, kind, 0.9, generator=seeded(0))
    assert torch.equal(clean, before)


def test_without_a_generator_the_default_one_is_used() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        first = degrade(photos(1), "rain", 0.5).image
        torch.manual_seed(4)
        assert torch.equal(degrade(photos(1), "rain", 0.5).image, first)


def test_an_empty_batch_stays_empty() -> None:
    assert degrade(photos(1)[:0], "snow", 0.5).image.shape == (0, 3, 64, 72)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 4, 8, 8)])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DegradationError, match=r"expected floating point \(B,3,H,W\)"):
        degrade(torch.rand(shape), "rain", 0.5)


def test_integers_are_refused() -> None:
    with pytest.raises(DegradationError, match=r"uint8"):
        degrade(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "rain", 0.5)


@pytest.mark.parametrize("severity", [-0.1, 1.1, float("nan")])
def test_a_severity_outside_the_range_is_refused(severity: float) -> None:
    with pytest.raises(DegradationError, match=r"expected 0\.\.1"):
        degrade(photos(1), "rain", severity)


def test_severities_must_fit_the_batch() -> None:
    with pytest.raises(DegradationError, match=r"\(3,\), expected \(2,\)"):
        degrade(photos(2), "rain", torch.full((3,), 0.5))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UnknownKindError, match="'fog'"):
        degrade(photos(1), "fog", 0.5)
