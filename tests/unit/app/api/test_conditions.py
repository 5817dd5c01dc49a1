from __future__ import annotations

import pytest

from app.api.conditions import ByteRange, accepts, is_unchanged, wanted_range
from app.errors import RangeNotSatisfiableError

TAG = '"abc-1"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        (TAG, True),
        (f"W/{TAG}", True),
        ("*", True),
        (f'"x", {TAG}', True),
        (f'"x,{TAG[1:]}', False),
        ('"abc-2"', False),
        ("abc-1", False),
        ("", False),
    ],
)
def test_tags_are_compared_as_wholes(header: str | None, expected: bool) -> None:
    assert is_unchanged(header, TAG) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=0-99", ByteRange(0, 100)),
        ("bytes=10-1000000000000", ByteRange(10, 100)),
        ("bytes=99-", ByteRange(99, 100)),
        ("bytes=-1", ByteRange(99, 100)),
        ("bytes=-1000", ByteRange(0, 100)),
        (" Bytes = 5 - 6 ", ByteRange(5, 7)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("bytes=a-b", None),
        ("lines=0-1", None),
        ("bytes", None),
        ("bytes=" + "9" * 40 + "-", None),
    ],
)
def test_one_range_of_bytes_is_honoured_and_anything_else_gives_the_whole(
    header: str | None, expected: ByteRange | None
) -> None:
    assert wanted_range(header, None, TAG, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=999999999999999999-"])
def test_range_behind_the_end_is_refused(header: str) -> None:
    with pytest.raises(RangeNotSatisfiableError, match="100 bytes"):
        wanted_range(header, None, TAG, 100)


@pytest.mark.parametrize(
    ("if_range", "is_part"),
    [(TAG, True), (f" {TAG} ", True), (f"W/{TAG}", False), ('"x"', False), ("Wed, 21 Oct 2026 07:28:00 GMT", False)],
)
def test_part_is_given_only_of_the_file_that_the_caller_began_with(if_range: str, is_part: bool) -> None:
    assert (wanted_range("bytes=5-", if_range, TAG, 100) is not None) is is_part
    assert (wanted_range("bytes=500-", '"x"', TAG, 100)) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, True),
        ("", True),
        ("*/*", True),
        ("image/*", True),
        ("image/jpeg", True),
        ("IMAGE/JPEG", True),
        ("text/html, image/avif, image/webp, */*;q=0.8", True),
        ("image/png", False),
        ("application/json", False),
        ("image/png, text/*", False),
        ("image/jpeg;q=0", False),
        ("image/jpeg;q=0, */*", False),
        ("*/*;q=0, image/jpeg;q=0.1", True),
        ("image/*;q=0.0, */*", False),
        ("image/jpeg; q=oops", True),
        ("image/jpeg;level=1;q=0", False),
    ],
)
def test_most_specific_media_range_decides(header: str | None, expected: bool) -> None:
    assert accepts(header, "image/jpeg") is expected
