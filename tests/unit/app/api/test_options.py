"""Options come from the query, the form or both, and are refused by name."""

from __future__ import annotations

import pytest

from app.api.options import MAX_SEED, parse_options
from app.api.problems import ParametersError
from app.jobs.job import RestoreOptions


def test_defaults_and_empty_values() -> None:
    assert parse_options([], []) == RestoreOptions()
    assert parse_options([("steps", "")], [("caption", ""), ("format", "")]) == RestoreOptions()


def test_both_places_count_and_equal_values_may_be_given_twice() -> None:
    given = parse_options([("steps", "4"), ("quality", "best")], [("steps", "4"), ("seed", str(MAX_SEED))])
    assert given == RestoreOptions(quality="best", steps=4, seed=MAX_SEED)


def test_times_are_seconds_and_may_be_equal() -> None:
    assert parse_options([("start_within", "2.5")], []) == RestoreOptions(start_within_s=2.5)
    given = parse_options([("finish_within", "3")], [("start_within", "3")])
    assert given == RestoreOptions(start_within_s=3.0, finish_within_s=3.0)


def test_caption_loses_control_characters_and_keeps_its_language() -> None:
    assert parse_options([], [("caption", "\ta cat\r\nchat é 猫 🐈\x7f ")]).caption == "a cat  chat é 猫 🐈"
    assert parse_options([], [("caption", "half \ud83d")]).caption == "half"
    assert parse_options([], [("caption", "\n\t ")]).caption is None


@pytest.mark.parametrize(
    ("query", "form", "field"),
    [
        ([("steps", "0")], [], "steps"),
        ([("steps", "101")], [], "steps"),
        ([("steps", "4.5")], [], "steps"),
        ([("steps", "many")], [], "steps"),
        ([("seed", "-1")], [], "seed"),
        ([("seed", str(MAX_SEED + 1))], [], "seed"),
        ([("seed", "9" * 5000)], [], "seed"),
        ([("quality", "great")], [], "quality"),
        ([("format", "bmp")], [], "format"),
        ([("format", "JPEG")], [], "format"),
        ([("caption", "x" * 501)], [], "caption"),
        ([], [("\ud800", "x")], ""),
        ([("start_within", "0")], [], "start_within"),
        ([("start_within", "-1")], [], "start_within"),
        ([("start_within", "soon")], [], "start_within"),
        ([("finish_within", "nan")], [], "finish_within"),
        ([("finish_within", "inf")], [], "finish_within"),
        ([("finish_within", "604801")], [], "finish_within"),
        ([("start_within", "5")], [("finish_within", "4.5")], "start_within"),
        ([("steps", "4")], [("steps", "5")], "steps"),
        ([("steps", "4"), ("steps", "5")], [], "steps"),
        ([("qualty", "best")], [], "qualty"),
        ([("x" * 5000, "best")], [], "x" * 64),
    ],
)
def test_what_is_not_valid_is_named(query: list[tuple[str, str]], form: list[tuple[str, str]], field: str) -> None:
    with pytest.raises(ParametersError) as caught:
        parse_options(query, form)
    assert field in [entry["field"] for entry in caught.value.errors]
    assert (caught.value.status, caught.value.code) == (422, "invalid_option")
    assert len(caught.value.detail) < 1000


def test_every_fault_is_listed() -> None:
    with pytest.raises(ParametersError) as caught:
        parse_options([("steps", "0"), ("quality", "great"), ("seed", "1")], [("seed", "2")])
    assert {entry["field"] for entry in caught.value.errors} == {"steps", "quality", "seed"}
