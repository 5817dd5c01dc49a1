"""traceparent headers."""

from __future__ import annotations

import pytest

from app.tracing.context import parse_traceparent, trace_id_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"


def test_valid_ones_are_carried_on() -> None:
    assert parse_traceparent([GOOD]) == GOOD
    assert parse_traceparent([f" {GOOD}\t"]) == GOOD
    assert parse_traceparent([f"cc-{TRACE}-{PARENT}-01-what-comes-later"]) == GOOD
    assert parse_traceparent([f"cc-{TRACE}-{PARENT}-01"]) == GOOD
    assert trace_id_of(GOOD) == TRACE


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [GOOD, GOOD],
        [""],
        [GOOD.upper()],
        [f"00-{'0' * 32}-{PARENT}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"ff-{TRACE}-{PARENT}-01"],
        [f"{GOOD}-more"],
        [f"00-{TRACE}-{PARENT}"],
        [f"00-{TRACE}x-{PARENT}-01"],
    ],
)
def test_others_are_passed_over(headers: list[str]) -> None:
    assert parse_traceparent(headers) is None
