"""Addresses of storage: what is read, what is refused, what callers may name."""

from __future__ import annotations

import pytest

from app.storage.urls import AllowedPrefixes, ObjectUrl, StoragePlace, is_object_url, parse_object_url, parse_storage


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("redis", StoragePlace("redis")),
        ("file:///var/lib/vlmir/", StoragePlace("file", prefix="/var/lib/vlmir")),
        ("s3://photos", StoragePlace("s3", "photos")),
        ("s3://photos/", StoragePlace("s3", "photos")),
        ("s3://photos/vlmir/live/", StoragePlace("s3", "photos", "vlmir/live")),
        ("gs://photos.example.com/a", StoragePlace("gs", "photos.example.com", "a")),
        ("az://photos/a", StoragePlace("az", "photos", "a")),
    ],
)
def test_places_are_read(text: str, place: StoragePlace) -> None:
    assert parse_storage(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Redis",
        "redis://host",
        "file://host/folder",
        "file://",
        "file:///",
        "file:///a/../b",
        "/var/lib",
        "s3:/photos",
        "s3://",
        "s3:///key",
        "s3://Photos",
        "s3://user:secret@photos/a",
        "s3://photos/a/../b",
        "s3://photos/a//b",
        "s3://photos//",
        "http://photos/a",
        "memory://",
    ],
)
def test_other_places_are_refused(text: str) -> None:
    if text == "s3://photos//":  # only slashes behind the bucket: the whole bucket
        assert parse_storage(text) == StoragePlace("s3", "photos")
        return
    with pytest.raises(ValueError, match=r"."):
        parse_storage(text)


@pytest.mark.parametrize("key", ["a.jpg", "in/2026/a b.jpg", "in/größe%20.jpg", "in/", "a" * 1024, "-", "..a/b.."])
def test_keys_are_taken_as_they_are(key: str) -> None:
    assert parse_object_url(f"s3://photos/{key}") == ObjectUrl("s3", "photos", key)


@pytest.mark.parametrize(
    "url",
    [
        "https://photos/a",
        "file:///etc/passwd",
        "memory://photos/a",
        "S3://photos/a",
        "s3://photos",
        "s3://photos/",
        "s3://photos//a",
        "s3://photos/in/../secret",
        "s3://photos/in/./a",
        "s3://photos/..",
        "s3://photos/../other/a",
        "s3://photos/in\\..\\a",
        "s3://photos/a?versionId=1",
        "s3://photos/a#b",
        "s3://photos/a\nb",
        "s3://photos/a\x00",
        "s3://photos/a\ud800",
        "s3://" + "photos/" + "ä" * 513,
        "s3://key:secret@photos/a",
        "s3://photos:80/a",
        "s3://../a",
        "s3://-photos/a",
        "s3://ph..otos/a",
    ],
)
def test_other_objects_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_object_url(url)


def test_bucket_urls_are_told_from_those_of_the_web() -> None:
    assert [is_object_url(text) for text in ("s3://a/b", "S3://a/b", "gs://a/b", "az://a/b")] == [True] * 4
    assert not any(is_object_url(text) for text in ("https://a/b", "s3:a", "file:///a", "", "://"))


def test_nothing_is_allowed_unless_it_is_named() -> None:
    assert not AllowedPrefixes().allows(ObjectUrl("s3", "photos", "a"), "default")
    assert AllowedPrefixes.parse(" , ") == AllowedPrefixes()


def test_a_prefix_allows_what_is_below_it_and_nothing_beside() -> None:
    allowed = AllowedPrefixes.parse("s3://photos/in, gs://whole/")
    assert allowed.allows(ObjectUrl("s3", "photos", "in/a/b.jpg"), "default")
    assert allowed.allows(ObjectUrl("gs", "whole", "x"), "default")
    for other in (
        ObjectUrl("s3", "photos", "internal/a"),
        ObjectUrl("s3", "photos", "in"),
        ObjectUrl("s3", "photos", "In/a"),
        ObjectUrl("s3", "photos2", "in/a"),
        ObjectUrl("gs", "photos", "in/a"),
        ObjectUrl("s3", "whole", "x"),
    ):
        assert not allowed.allows(other, "default")


def test_a_tenant_has_a_prefix_of_its_own() -> None:
    allowed = AllowedPrefixes.parse("s3://photos/{tenant}/in/")
    assert allowed.allows(ObjectUrl("s3", "photos", "akme/in/a"), "akme")
    assert not allowed.allows(ObjectUrl("s3", "photos", "akme/in/a"), "other")
    for strange in ("akme/in/a/..", "..", ".", "", "a/b", "{tenant}"):
        assert not allowed.allows(ObjectUrl("s3", "photos", f"{strange}/in/a"), strange)


@pytest.mark.parametrize(
    "text", ["photos/in", "https://photos/in", "file:///etc", "s3://", "s3://photos/a/../b", "s3:///"]
)
def test_prefixes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        AllowedPrefixes.parse(text)


@pytest.mark.parametrize(
    ("allowed", "meets"),
    [
        ("s3://photos", True),
        ("s3://photos/vlmir", True),
        ("s3://photos/vlmir/live/result", True),
        ("s3://photos/{tenant}", True),  # a tenant may be called vlmir
        ("s3://photos/vlmi", False),
        ("s3://photos/in/{tenant}", False),
        ("s3://other", False),
        ("gs://photos", False),
    ],
)
def test_what_meets_the_services_own_place_is_noticed(allowed: str, meets: bool) -> None:
    assert AllowedPrefixes.parse(allowed).meets(StoragePlace("s3", "photos", "vlmir/live")) is meets
    assert AllowedPrefixes.parse(allowed).meets(StoragePlace("redis")) is False
