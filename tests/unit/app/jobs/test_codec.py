from __future__ import annotations

from dataclasses import replace

import pytest

from app.jobs.codec import CodecError, decode_job, encode_job
from app.jobs.job import RestoreOptions
from tests.support.jobs import make_job


def encoded() -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in encode_job(make_job()).items()}


def test_unknown_version_is_refused_with_advice() -> None:
    with pytest.raises(CodecError, match="version '99', this program reads 1; run API and workers of the same release"):
        decode_job({**encoded(), b"version": b"99"})


def test_empty_record_is_refused() -> None:
    with pytest.raises(CodecError, match="version None"):
        decode_job({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", b"sleeping"),
        ("width", b"wide"),
        ("options", b"{"),
        ("options", b'{"colour": 1}'),
        ("findings", b"[1]"),
    ],
)
def test_damaged_field_is_refused(name: str, value: bytes) -> None:
    with pytest.raises(CodecError, match="damaged"):
        decode_job({**encoded(), name.encode(): value})


def test_missing_field_is_refused() -> None:
    record = encoded()
    del record[b"tenant"]
    with pytest.raises(CodecError, match="KeyError: 'tenant'"):
        decode_job(record)


def test_record_without_newer_options_is_that_of_an_older_release() -> None:
    for name in (b"model", b"photo_metadata", b"quality_factor"):
        assert name not in encoded()[b"options"]
    old = encoded() | {b"options": b'{"quality":"best","steps":null,"seed":1,"caption":null,"format":null}'}
    assert decode_job(old).options == RestoreOptions("best", seed=1)


@pytest.mark.parametrize("kinds", [None, (), ("blur", "low-light")])
def test_kinds_travel_and_none_of_them_is_not_the_same_as_not_said(kinds: tuple[str, ...] | None) -> None:
    job = replace(make_job(), options=RestoreOptions(kinds=kinds))
    fields = {name.encode(): value.encode() for name, value in encode_job(job).items()}
    assert decode_job(fields) == job


def test_fields_of_the_queue_itself_are_passed_over() -> None:
    assert decode_job({**encoded(), b"entry": b"1-0", b"deliveries": b"2"}).attempt == 0
