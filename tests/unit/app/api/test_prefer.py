"""RFC 7240: preferences are hints, so nothing in the header may be an error."""

from __future__ import annotations

import pytest

from app.api.prefer import preferred_wait_s, prefers_async


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=10"], 10),
        (["WAIT = 10"], 10),
        (['wait="10"'], 10),
        (["respond-async, wait=7"], 7),
        (["respond-async", "return=minimal, wait=7; x=y"], 7),
        (["wait"], 60),
        (["wait=0"], 0),
        (["wait=3600"], 60),
        (["wait=99999999999999999999"], None),
        (["wait=-1"], None),
        (["wait=ten"], None),
        (["respond-async"], None),
        (["waiting=5"], None),
        (["wait=5, wait=9"], 5),
        (["\xff\x00;;,,="], None),
    ],
)
def test_wait_is_read_and_capped(headers: list[str], seconds: int | None) -> None:
    assert preferred_wait_s(headers, 60.9) == seconds


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], False),
        (["respond-async"], True),
        (["Respond-Async"], True),
        (["wait=5, respond-async; x=y"], True),
        (["return=minimal", 'respond-async=""'], True),
        (["respond-asynchronously"], False),
        (["respond-async=no"], False),
        (["wait=5"], False),
    ],
)
def test_an_answer_at_once_may_be_asked_for(headers: list[str], expected: bool) -> None:
    assert prefers_async(headers) is expected
