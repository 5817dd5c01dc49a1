"""Limits of tenants and the headers that tell about them."""

from __future__ import annotations

import re

import pytest

from app.access.limits import Limits, Standing

# One member of a list of RFC 9651: a string with parameters whose values are whole numbers or strings.
MEMBER = re.compile(r'"[a-z-]+"(;[a-z]+=(\d+|"[a-z]+"))+')


def test_headers_are_structured_fields_with_one_member_per_limit() -> None:
    limits = Limits(rate_per_s=0.5, burst=3, daily_jobs=100, daily_megapixels=250.5)
    headers = Standing(limits, free=2, full_ms=1500, jobs=1, megapixels=12.3, left_s=3600).headers
    assert headers == {
        "RateLimit-Policy": '"rate";q=3;w=6, "daily-jobs";q=100;w=86400;qu="jobs", '
        '"daily-megapixels";q=250;w=86400;qu="megapixels"',
        "RateLimit": '"rate";r=2;t=2, "daily-jobs";r=99;t=3600, "daily-megapixels";r=238;t=3600',
    }
    for value in headers.values():
        assert all(MEMBER.fullmatch(member) for member in value.split(", "))


def test_only_what_is_bounded_is_told_and_nothing_is_ever_negative() -> None:
    assert Standing(Limits()).headers == {}
    headers = Standing(Limits(daily_jobs=1), jobs=5, left_s=1).headers
    assert headers["RateLimit"] == '"daily-jobs";r=0;t=1'
    assert not Limits().is_bounded
    assert Limits(rate_per_s=1).is_bounded
    assert not Limits(rate_per_s=1).has_quota


@pytest.mark.parametrize(
    "changes", [{"rate_per_s": -1}, {"burst": 0}, {"daily_jobs": -1}, {"daily_megapixels": float("nan")}]
)
def test_limits_that_make_no_sense_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Limits(**changes)  # type: ignore[arg-type]
