"""Options come from the query, the form or both, and are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.options import MAX_METADATA_BYTES, MAX_SEED, Submission, parse_submission
from app.api.problems import ParametersError
from app.jobs.job import RestoreOptions


def parse_options(query: list[tuple[str, str]], form: list[tuple[str, Any]]) -> RestoreOptions:
    return parse_submission(query, form).options


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
        ([("kinds", "rain,scratches")], [], "kinds"),
        ([("kinds", "rain,,noise")], [], "kinds"),
        ([("kinds", "Rain")], [], "kinds"),
        ([("kinds", "x" * 5000)], [], "kinds"),
        ([], [("kinds", [1])], "kinds"),
        ([], [("kinds", {"rain": 1})], "kinds"),
        ([("kinds", "")], [("kinds", "rain")], "kinds"),
        ([("priority", "high")], [], "priority"),
        ([("metadata", "[1]")], [], "metadata"),
        ([("metadata", "no JSON")], [], "metadata"),
        ([("metadata", '{"a": NaN}')], [], "metadata"),
        ([("metadata", '{"a": 1e999}')], [], "metadata"),
        ([("metadata", '{"a": "\\ud800"}')], [], "metadata"),
        ([("metadata", '{"a":' * 1500 + "1" + "}" * 1500)], [], "metadata"),
        ([("metadata", '{"a": "\ud800"}')], [], "metadata"),
        ([], [("metadata", [1])], "metadata"),
        ([], [("steps", True)], "steps"),
        ([], [("steps", 4.5)], "steps"),
        ([], [("caption", 7)], "caption"),
        ([("steps", "4")], [("steps", 5)], "steps"),
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


def test_members_of_an_object_have_types_and_nothing_means_not_given() -> None:
    given = parse_submission(
        [("steps", "4")], [("steps", 4), ("caption", None), ("kinds", ["rain", "blur"]), ("priority", "batch")]
    )
    assert given == Submission(RestoreOptions(steps=4, kinds=("blur", "rain")), "batch")


@pytest.mark.parametrize(
    ("value", "kinds"), [("", ()), (" ", ()), ([], ()), ("noise", ("noise",)), (" rain , jpeg,rain", ("jpeg", "rain"))]
)
def test_kinds_may_be_empty_which_is_not_the_same_as_not_given(value: Any, kinds: tuple[str, ...]) -> None:
    assert parse_options([], [("kinds", value)]).kinds == kinds
    assert parse_options([], []).kinds is None


def test_metadata_is_an_object_of_bounded_size() -> None:
    assert parse_submission([("metadata", '{"a": [1, "\u00e9", null]}')], []).metadata == {"a": [1, "é", None]}
    assert parse_submission([], [("metadata", {"a": 1.5})]).metadata == {"a": 1.5}
    largest = {"a": "é" * ((MAX_METADATA_BYTES - len('{"a":""}')) // 2)}
    assert parse_submission([], [("metadata", largest)]).metadata == largest
    with pytest.raises(ParametersError, match="at most 4,096"):
        parse_submission([], [("metadata", {"a": largest["a"] + "x"})])
