from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.degradation.errors import DegradationError
from model.degradation.kinds import KINDS, kind_index
from model.degradation.synthesis import degrade, degrade_mixture, sample_severities
from model.errors import UnknownKindError
from tests.unit.model.degradation.photos import photos, seeded


def only(kind: str, values: list[float]) -> torch.Tensor:
    severities = torch.zeros(len(values), len(KINDS))
    severities[:, kind_index(kind)] = torch.tensor(values)
    return severities


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["random", "physical"])
def test_a_mixture_of_one_kind_is_that_kind(kind: str, order: str) -> None:
    clean = photos(3)
    alone = degrade(clean, kind, torch.tensor([0.2, 0.5, 0.9]), generator=seeded(7))
    mixed = degrade_mixture(clean, only(kind, [0.2, 0.5, 0.9]), generator=seeded(7), order=order)  # type: ignore[arg-type]
    assert torch.equal(mixed.image, alone.image)
    assert torch.equal(mixed.mask, alone.mask)


def test_samples_without_any_kind_come_back_unchanged() -> None:
    clean = photos(4)
    severities = only("rain", [0.0, 0.7, 0.0, 0.7]) + only("jpeg", [0.0, 0.0, 0.0, 0.5])
    mixed = degrade_mixture(clean, severities, generator=seeded(0))
    assert torch.equal(mixed.image[[0, 2]], clean[[0, 2]])
    assert not torch.equal(mixed.image[1], clean[1])


def test_holes_come_last_whatever_the_order() -> None:
    clean = photos(4, 48, 48)
    severities = torch.full((4, len(KINDS)), 0.3)
    for seed in range(5):
        mixed = degrade_mixture(clean, severities, generator=seeded(seed))
        for image, mask in zip(mixed.image, mixed.mask, strict=True):
            inside = image[:, mask[0] == 1.0]
            assert inside.shape[1] > 0
            assert torch.equal(inside, inside[:, :1].expand_as(inside))


def test_random_orders_differ_and_the_physical_order_does_not() -> None:
    clean = photos(2)
    severities = only("low-light", [0.8, 0.8]) + only("haze", [0.8, 0.8])
    means = [float(degrade_mixture(clean, severities, generator=seeded(seed)).image.mean()) for seed in range(12)]
    assert max(means) > 1.5 * min(means)  # fog over a dark photo is bright, a dark photo of fog is dark
    for seed in range(4):
        physical = degrade_mixture(clean, severities, generator=seeded(seed), order="physical").image
        assert float(physical.mean()) < 0.75 * max(means)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DegradationError, match=r"expected \(2, 10\)"):
        degrade_mixture(photos(2), torch.zeros(2, 9))
    with pytest.raises(DegradationError, match="'random' or 'physical'"):
        degrade_mixture(photos(1), torch.zeros(1, 10), order="reverse")  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(0, 33),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, unique=True),
    mixture=st.floats(0.0, 1.0),
    identity=st.floats(0.0, 1.0),
    most=st.integers(1, 12),
    seed=st.integers(0, 2**31),
)
def test_sampled_severities_keep_to_what_was_asked(
    batch: int, kinds: list[str], mixture: float, identity: float, most: int, seed: int
) -> None:
    severities = sample_severities(
        batch,
        generator=seeded(seed),
        kinds=kinds,
        mixture_probability=mixture,
        max_kinds=most,
        identity_probability=identity,
    )
    assert severities.shape == (batch, len(KINDS))
    present = severities > 0.0
    assert bool(((severities >= 0.05) | ~present).all())
    assert bool((severities <= 1.0).all())
    assert bool((present.sum(1) <= min(most, len(kinds))).all())
    allowed = torch.tensor([kind in kinds for kind in KINDS])
    assert not bool(present[:, ~allowed].any())


def test_kinds_named_several_times_bring_in_no_others() -> None:
    kinds = ("noise", "noise", "jpeg", "jpeg", "jpeg")
    severities = sample_severities(
        2000, generator=torch.Generator().manual_seed(0), kinds=kinds, mixture_probability=0.5
    )
    named = [kind_index(kind) for kind in set(kinds)]
    others = [index for index in range(len(KINDS)) if index not in named]
    assert float(severities[:, others].max()) == 0.0
    assert bool(((severities[:, named] > 0).sum(1) == 2).any())


def test_kinds_are_balanced_within_a_batch() -> None:
    severities = sample_severities(40, generator=seeded(0), mixture_probability=0.0, identity_probability=0.0)
    assert ((severities > 0.0).sum(0) == 4).all()


def test_shares_of_mixtures_and_clean_samples_are_as_asked() -> None:
    count = (sample_severities(4000, generator=seeded(1)) > 0.0).sum(1)
    assert abs(float((count == 0).float().mean()) - 0.05) < 0.015
    assert abs(float((count > 1).float().mean()) - 0.95 * 0.3) < 0.03
    assert abs(float((count == 3).float().mean()) / float((count == 2).float().mean()) - 1.0) < 0.2


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(DegradationError, match="0 kinds"):
        sample_severities(4, kinds=[])
    with pytest.raises(DegradationError, match="mixture_probability"):
        sample_severities(4, mixture_probability=1.5)
    with pytest.raises(UnknownKindError):
        sample_severities(4, kinds=["fog"])
