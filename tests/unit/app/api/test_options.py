"""Options come from the query, the form or both, and are refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.api.json_text import nesting_of
from app.api.options import MAX_METADATA_BYTES, MAX_SEED, Submission, parse_submission
from app.api.problems import ParametersError
from app.jobs.job import RestoreOptions


def nested(levels: int) -> str:
    """An object with arrays inside, `levels` in all."""
    return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


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
        ([("metadata", nested(33))], [], "metadata"),
        ([], [("metadata", json.loads(nested(300)))], "metadata"),
        ([], [("steps", json.loads(nested(900)))], "steps"),
        ([], [("kinds", [json.loads(nested(900))])], "kinds"),
        ([("photo_metadata", "remove")], [], "photo_metadata"),
        ([("photo_metadata", "STRIP")], [], "photo_metadata"),
        ([("quality_factor", "0")], [], "quality_factor"),
        ([("quality_factor", "101")], [], "quality_factor"),
        ([("quality_factor", "90.5")], [], "quality_factor"),
        ([], [("quality_factor", True)], "quality_factor"),
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


def test_refusal_says_what_was_got_and_expected() -> None:
    with pytest.raises(ParametersError) as caught:
        parse_options([("photo_metadata", "remove"), ("quality_factor", "0")], [("metadata", nested(40))])
    told = {entry["field"]: entry["message"] for entry in caught.value.errors}
    assert told["photo_metadata"] == "Input should be 'keep', 'strip' or 'strip-gps'; got 'remove'"
    assert told["quality_factor"] == "Input should be greater than or equal to 1; got '0'"
    assert "nested 40 levels deep, at most 32" in told["metadata"]


def test_file_options_are_their_own_and_absent_where_not_given() -> None:
    given = parse_options([("photo_metadata", "strip-gps")], [("quality_factor", 80)])
    assert given == RestoreOptions(photo_metadata="strip-gps", quality_factor=80)
    assert (parse_options([], []).photo_metadata, parse_options([], []).quality_factor) == (None, None)


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


def test_metadata_may_be_nested_to_a_bound() -> None:
    assert parse_submission([("metadata", nested(32))], []).metadata == json.loads(nested(32))
    assert nesting_of({"a": [1, {"b": []}], "c": {}}) == 4
    assert nesting_of("[[") == 0


def test_metadata_is_an_object_of_bounded_size() -> None:
    assert parse_submission([("metadata", '{"a": [1, "\u00e9", null]}')], []).metadata == {"a": [1, "é", None]}
    assert parse_submission([], [("metadata", {"a": 1.5})]).metadata == {"a": 1.5}
    largest = {"a": "é" * ((MAX_METADATA_BYTES - len('{"a":""}')) // 2)}
    assert parse_submission([], [("metadata", largest)]).metadata == largest
    with pytest.raises(ParametersError, match="at most 4,096"):
        parse_submission([], [("metadata", {"a": largest["a"] + "x"})])
