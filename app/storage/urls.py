"""Reading the addresses of storage: the service's own place, objects in callers' buckets, prefixes. Pure functions.

Keys are taken as they are: nothing is decoded, resolved or normalised, so that what was allowed is what is opened.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

BUCKET_SCHEMES = ("s3", "gs", "az")
"""Amazon S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage."""

TENANT = "{tenant}"
"""Stands for the caller's tenant in an allowed prefix."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_TENANT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_FORBIDDEN = frozenset("\\?#")  # other readers of such an address would end the key there, or begin a new part
_MAX_KEY_BYTES = 1024
_SHOWN_CHARS = 120


@dataclass(frozen=True)
class StoragePlace:
    """Where the service keeps photos.

    Attributes:
        scheme: "redis", "file" or one of `BUCKET_SCHEMES`.
        bucket: Bucket or container; empty for redis and file.
        prefix: Beginning of all keys without a slash at its end, or the absolute folder; may be empty in a bucket.
    """

    scheme: str
    bucket: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class ObjectUrl:
    """One object in a bucket, or the beginning of names of objects.

    Attributes:
        scheme: One of `BUCKET_SCHEMES`.
        bucket: Bucket or container.
        key: Key of the object; one that ends with a slash is the beginning of others.
    """

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"


def parse_storage(text: str) -> StoragePlace:
    """Read the URL of the service's own storage.

    Raises:
        ValueError: It is none; the message says what is expected.
    """
    if text == "redis":
        return StoragePlace("redis")
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "file":
        folder = rest.rstrip("/")
        if not folder.startswith("/"):
            raise ValueError("write a folder with its whole path, file:///var/lib/vlmir")
        _check_key(folder[1:])
        return StoragePlace("file", prefix=folder)
    if separator and scheme in BUCKET_SCHEMES:
        bucket, _, prefix = rest.partition("/")
        _check_bucket(bucket)
        if prefix.strip("/"):
            _check_key(prefix.rstrip("/"))
        return StoragePlace(scheme, bucket, prefix.rstrip("/"))
    raise ValueError("expected redis, file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")


def is_object_url(text: str) -> bool:
    """Say whether an address names a bucket, and so is none for the web."""
    return text.partition("://")[0].lower() in BUCKET_SCHEMES and "://" in text


def parse_object_url(text: str) -> ObjectUrl:
    """Read the address of an object in a bucket.

    Raises:
        ValueError: It is none; the message says why and can be shown to a caller.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in BUCKET_SCHEMES:
        raise ValueError("it does not begin with s3://, gs:// or az://")
    bucket, separator, key = rest.partition("/")
    _check_bucket(bucket)
    if not key:
        raise ValueError("it has no key behind the bucket")
    _check_key(key.removesuffix("/"))
    return ObjectUrl(scheme, bucket, key)


@dataclass(frozen=True)
class AllowedPrefixes:
    """What callers may read or write with the service's credentials; nothing by default.

    Attributes:
        prefixes: Beginnings, each with a key that is empty (the whole bucket) or ends with a slash.
    """

    prefixes: tuple[ObjectUrl, ...] = ()

    @classmethod
    def parse(cls, text: str) -> AllowedPrefixes:
        """Read a list with commas such as "s3://photos/in/, s3://photos/{tenant}/"; `{tenant}` is the caller's tenant.

        Raises:
            ValueError: An item is no bucket with a prefix.
        """
        return cls(tuple(_parse_prefix(item.strip()) for item in text.split(",") if item.strip()))

    def allows(self, url: ObjectUrl, tenant: str) -> bool:
        """Say whether a tenant may name this object."""
        return any(
            (prefix.scheme, prefix.bucket) == (url.scheme, url.bucket)
            and (TENANT not in prefix.key or _TENANT.fullmatch(tenant))
            and url.key.startswith(prefix.key.replace(TENANT, tenant))
            for prefix in self.prefixes
        )

    def meets(self, place: StoragePlace) -> bool:
        """Say whether some allowed object could be one of the service's own."""
        own = f"{place.prefix}/" if place.prefix else ""
        for prefix in self.prefixes:
            known = prefix.key.partition(TENANT)[0]
            is_same = (prefix.scheme, prefix.bucket) == (place.scheme, place.bucket)
            if is_same and (known.startswith(own) or own.startswith(known)):
                return True
        return False


NOTHING = AllowedPrefixes()


def _parse_prefix(text: str) -> ObjectUrl:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in BUCKET_SCHEMES:
        raise ValueError(f"{text[:_SHOWN_CHARS]!r} does not begin with s3://, gs:// or az://")
    bucket, _, key = rest.partition("/")
    _check_bucket(bucket)
    if not key:
        return ObjectUrl(scheme, bucket, "")
    _check_key(key.removesuffix("/"))
    # A whole segment, so that photos/in does not open photos/internal.
    return ObjectUrl(scheme, bucket, f"{key.removesuffix('/')}/")


def _check_bucket(bucket: str) -> None:
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise ValueError(f"{bucket[:_SHOWN_CHARS]!r} is no name of a bucket")


def _check_key(key: str) -> None:
    if len(key.encode("utf-8", "surrogatepass")) > _MAX_KEY_BYTES:
        raise ValueError(f"its key has more than {_MAX_KEY_BYTES} bytes")
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        raise ValueError("its key has an empty part or one of dots")
    if any(char in _FORBIDDEN or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in key):
        raise ValueError("its key has a character that is not taken: a control character, or one of \\ ? #")
