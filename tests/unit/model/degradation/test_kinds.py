from __future__ import annotations

import pytest

from model.degradation.kinds import KINDS, PHYSICAL_ORDER, PROMPTS, kind_index
from model.errors import ModelError, UnknownKindError


def test_every_kind_has_its_own_index_and_prompt() -> None:
    assert [kind_index(kind) for kind in KINDS] == list(range(10))
    assert set(PROMPTS) == set(KINDS)
    assert len(set(PROMPTS.values())) == 10


def test_the_physical_order_names_every_kind_once_and_ends_with_holes() -> None:
    assert sorted(PHYSICAL_ORDER) == sorted(KINDS)
    assert PHYSICAL_ORDER[-1] == "inpainting"


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownKindError, match=r"'rains'.*raindrop, rain"):
        kind_index("rains")
    assert issubclass(UnknownKindError, ModelError)
    assert issubclass(UnknownKindError, ValueError)
