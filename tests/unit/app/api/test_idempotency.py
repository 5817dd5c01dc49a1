"""Idempotency-Key headers and fingerprints of requests."""

from __future__ import annotations

import pytest

from app.api.idempotency import entry_parts, fingerprint, read_key, submission_parts
from app.api.options import parse_submission
from app.errors import InvalidRequestError
from app.jobs.batch import BatchEntry
from app.jobs.idempotency import KeyUse
from app.jobs.job import RestoreOptions


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (' "a b" ', "a b"),
        (r'"a\"b\\c"', 'a"b\\c'),
        ("8e03978e", "8e03978e"),
        ("a_b.c:d/e+f=", "a_b.c:d/e+f="),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
def test_keys_are_quoted_strings_or_plain_words(text: str, key: str) -> None:
    assert read_key([text]) == key


@pytest.mark.parametrize(
    "headers",
    [[""], ['""'], ['"' + "x" * 256 + '"'], ["x" * 256], ['"a'], ['a"'], ['"a"b'], ['"a";p=1'], ["a b"], ["a,b"],
     ["a;b"], ['"\u00e9"'], ['"a\x7f"'], [r'"\a"'], ['"a"', '"a"'], ["a", "b"]],
)  # fmt: skip
def test_other_keys_are_refused(headers: list[str]) -> None:
    with pytest.raises(InvalidRequestError, match="Idempotency-Key"):
        read_key(headers)
    assert read_key([]) is None


def test_fingerprints_tell_requests_apart_and_not_ways_to_write_them() -> None:
    def of(query: list[tuple[str, str]], *parts: object) -> str:
        return fingerprint("/restore", submission_parts(parse_submission(query, [])), *parts)

    same = of([("steps", "4"), ("quality", "balanced")], b"photo", None)
    assert same == of([("steps", "4"), ("caption", "")], b"photo", None)
    others = [
        of([("steps", "5")], b"photo", None),
        of([("steps", "4"), ("kinds", "")], b"photo", None),
        of([("steps", "4"), ("priority", "batch")], b"photo", None),
        of([("steps", "4"), ("metadata", '{"a":1}')], b"photo", None),
        of([("steps", "4")], b"photo2", None),
        of([("steps", "4")], b"photo", b""),
        of([("steps", "4")], "photo", None),
        of([("steps", "4")], b"pho", b"to"),
        fingerprint("/other", submission_parts(parse_submission([("steps", "4")], [])), b"photo", None),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_tenants_do_not_share_keys() -> None:
    names = {KeyUse.of(tenant, key, "f").name for tenant, key in (("a", "b:c"), ("a:b", "c"), ("a", "c"), ("1:a", ""))}
    assert len(names) == 4
    assert KeyUse.of("a", "b", "f").token != KeyUse.of("a", "b", "f").token


def test_options_that_a_later_release_adds_change_no_fingerprint() -> None:
    """What is not given must not count at all: only then a new option with its default is the same as none."""
    assert submission_parts(parse_submission([], [])) == {"options": {}}
    given = submission_parts(parse_submission([("steps", "4"), ("seed", "0"), ("kinds", "")], []))
    assert given == {"options": {"steps": 4, "kinds": ()}}
    entry = BatchEntry(RestoreOptions(seed=3), "https://a.example/", metadata={"order": 1})
    assert entry_parts(entry) == {
        "options": {"seed": 3},
        "image_url": "https://a.example/",
        "metadata": {"order": 1},
    }
