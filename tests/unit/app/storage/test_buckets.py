"""Reading from and writing to callers' buckets: bounds, and who pays for trouble."""

from __future__ import annotations

import asyncio

import pytest

from app.errors import ImageFetchError, ImageUrlRefusedError, UploadsBusyError, UploadTooLargeError
from app.storage import buckets
from app.storage.buckets import BucketPolicy, CallerBuckets
from app.storage.errors import OutputDeliveryError, OutputUrlRefusedError
from app.storage.objects import ObjectStore
from app.storage.urls import AllowedPrefixes, ObjectUrl
from tests.support.object_store import BreakableStore

pytestmark = pytest.mark.anyio

ANY = AllowedPrefixes.parse("s3://photos/in/")


class Room:
    """Memory of a fixed size."""

    def __init__(self, most: int = 10_000) -> None:
        self.most, self.held_bytes = most, 0

    def expect(self, total_bytes: int) -> None:
        if total_bytes > self.most:
            raise UploadsBusyError("no room")

    def grow(self, more_bytes: int) -> None:
        self.held_bytes += more_bytes
        self.expect(self.held_bytes)


class OneBucket(CallerBuckets):
    def __init__(self, total_s: float = 30.0, at_once: int = 8) -> None:
        super().__init__(BucketPolicy(ANY, ANY, total_s, at_once))
        self.bucket = BreakableStore()

    def _store(self, url: ObjectUrl) -> ObjectStore:
        return self.bucket


async def test_bytes_are_counted_while_they_come() -> None:
    callers, room = OneBucket(), Room()
    await callers.bucket.put("in/a", b"x" * 5000)
    assert await callers.fetch("s3://photos/in/a", "default", 5000, room) == b"x" * 5000
    assert room.held_bytes == 5000
    with pytest.raises(UploadTooLargeError, match="4,999"):
        await callers.fetch("s3://photos/in/a", "default", 4999, Room())
    with pytest.raises(UploadsBusyError, match="no room"):
        await callers.fetch("s3://photos/in/a", "default", 5000, Room(4999))


async def test_trouble_of_a_bucket_is_the_callers_and_may_pass() -> None:
    callers = OneBucket()
    with pytest.raises(ImageFetchError) as missing:
        await callers.fetch("s3://photos/in/a", "default", 10, Room())
    assert not missing.value.retryable
    with callers.bucket.broken(), pytest.raises(ImageFetchError) as broken:
        await callers.fetch("s3://photos/in/a", "default", 10, Room())
    assert broken.value.retryable
    assert "127.0.0.1" not in broken.value.detail  # the store's own words are not for callers


async def test_nothing_is_asked_of_the_store_that_is_not_allowed() -> None:
    callers = OneBucket()
    with callers.bucket.broken():
        for url in ("s3://photos/a", "s3://other/in/a", "s3://photos/in/../a", "nothing"):
            with pytest.raises(ImageUrlRefusedError):
                await callers.fetch(url, "default", 10, Room())
            with pytest.raises(OutputUrlRefusedError):
                await callers.deliver(url, "default", "name", b"x", "image/png")


async def test_reads_wait_for_their_turn_and_not_for_ever() -> None:
    callers = OneBucket(total_s=0.05, at_once=1)
    await callers.bucket.put("in/a", b"x")
    await callers._slots.acquire()
    with pytest.raises(UploadsBusyError, match="1 photos"):
        await callers.fetch("s3://photos/in/a", "default", 10, Room())
    callers._slots.release()
    assert await callers.fetch("s3://photos/in/a", "default", 10, Room()) == b"x"
    await callers._slots.acquire()
    # Batches have slots of their own.
    assert callers.apart()._slots is not callers._slots


async def test_a_bucket_is_asked_again_before_a_result_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "_DELIVERY_DELAYS_S", (0.0, 0.0, 0.0))
    callers = OneBucket()
    failures = 2
    put = callers.bucket.put

    async def put_at_last(key: str, data: bytes, media_type: str | None = None) -> None:
        nonlocal failures
        failures -= 1
        if failures < 0:
            return await put(key, data, media_type)
        with callers.bucket.broken():
            return await put(key, data, media_type)

    monkeypatch.setattr(callers.bucket, "put", put_at_last)
    await callers.deliver("s3://photos/in/", "default", "name.png", b"x", "image/png")
    assert callers.bucket.kept() == ["in/name.png"]
    failures = 3
    with pytest.raises(OutputDeliveryError, match="photos"):
        await callers.deliver("s3://photos/in/b", "default", "name.png", b"x", "image/png")


async def test_many_reads_go_on_together() -> None:
    callers = OneBucket(at_once=2)
    for name in "abcdef":
        await callers.bucket.put(f"in/{name}", name.encode())
    found = await asyncio.gather(*(callers.fetch(f"s3://photos/in/{name}", "t", 10, Room()) for name in "abcdef"))
    assert found == [b"a", b"b", b"c", b"d", b"e", b"f"]
