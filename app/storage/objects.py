"""Bytes under keys in one object store: S3 and its like, Google, Azure or a folder, all through obstore.

A put is whole or not there: object stores take an object at its last byte, and for folders obstore writes a file of
another name and renames it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

from app.storage.errors import StorageSetupError, StorageUnavailableError
from app.storage.urls import BUCKET_SCHEMES, StoragePlace

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

    AnyStore = S3Store | GCSStore | AzureStore | LocalStore | MemoryStore

logger = logging.getLogger(__name__)

# Of one request; what is above it fails and is tried again by whoever asked.
_MAX_RETRIES = 3
_RETRY_S = 15.0
_DELETES_AT_ONCE = 16


class ObjectStore:
    """One bucket with a prefix, or one folder.

    Args:
        store: A store of obstore; every key goes under its prefix.
        is_bucket: Whether it keeps media types and signs links, which folders do not.
    """

    def __init__(self, store: AnyStore, *, is_bucket: bool) -> None:
        self._store = store
        self._is_bucket = is_bucket

    @classmethod
    def at(cls, place: StoragePlace) -> ObjectStore:
        """Give the store at a place; a folder is made if it is missing, a bucket must be there.

        Credentials, region and endpoint of buckets come from the provider's usual environment variables, which
        obstore reads itself.

        Raises:
            StorageSetupError: obstore is not installed, or does not take the settings that it finds.
        """
        try:
            return cls(_open(place), is_bucket=place.scheme in BUCKET_SCHEMES)
        except ImportError:
            raise StorageSetupError(
                f"{place.scheme}:// needs the package obstore: pip install 'vlmir[storage]'."
            ) from None
        except Exception as error:  # obstore has its own errors for settings, the system others for folders
            raise StorageSetupError(f"The {place.scheme} store cannot be opened: {_first_line(error)}") from error

    async def put(self, key: str, data: bytes, media_type: str | None = None) -> None:
        """Store bytes, replacing what has the key.

        Raises:
            StorageUnavailableError: The store does not take them.
        """
        import obstore

        attributes = {"Content-Type": media_type} if media_type and self._is_bucket else None
        with _translated("written"):
            # One request for what fits: a multipart upload that breaks off leaves parts that cost and nobody sees.
            await obstore.put_async(self._store, key, data, attributes=attributes, use_multipart=False)

    async def get(self, key: str) -> bytes | None:
        """Give the bytes, or None when there are none.

        Raises:
            StorageUnavailableError: The store does not answer.
        """
        import obstore

        try:
            with _translated("read"):
                answer = await obstore.get_async(self._store, key)
                return bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None

    @asynccontextmanager
    async def opened(self, key: str) -> AsyncIterator[tuple[int, AsyncIterator[bytes]] | None]:
        """Give size and bytes of one version of an object as they come, or None when there is none; raises as `get`."""
        import obstore

        try:
            with _translated("read"):
                answer = await obstore.get_async(self._store, key)
        except FileNotFoundError:
            yield None
            return

        async def chunks() -> AsyncIterator[bytes]:
            with _translated("read"):
                async for chunk in answer.stream():
                    yield bytes(chunk)

        yield answer.meta["size"], chunks()

    async def size(self, key: str) -> int | None:
        """Give the number of bytes, or None when there is no such object; raises as `get`."""
        import obstore

        try:
            with _translated("read"):
                return (await obstore.head_async(self._store, key))["size"]
        except FileNotFoundError:
            return None

    async def part(self, key: str, start: int, stop: int) -> bytes:
        """Give the bytes from `start` up to, not including, `stop` (above it); empty without them; raises as `get`.

        A request of its own per part: an open one would break off when a slow caller keeps it waiting.
        """
        import obstore

        try:
            with _translated("read"):
                return bytes(await obstore.get_range_async(self._store, key, start=start, end=stop))
        except FileNotFoundError:
            return b""

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete what is there of the keys.

        Raises:
            StorageUnavailableError: Not all of them could be deleted.
        """
        import obstore

        places = asyncio.Semaphore(_DELETES_AT_ONCE)

        async def delete(key: str) -> None:
            async with places:
                try:
                    with _translated("deleted"):
                        await obstore.delete_async(self._store, key)
                except FileNotFoundError:
                    pass  # folders say so, buckets do not

        for answer in await asyncio.gather(*(delete(key) for key in keys), return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    async def sign(self, key: str, seconds: int) -> str | None:
        """Give a link by which anybody can GET the object for a time, or None where the store cannot sign.

        Raises:
            StorageUnavailableError: The credentials to sign with cannot be had.
        """
        import obstore

        if not self._is_bucket:
            return None
        with _translated("signed"):
            store = cast("S3Store", self._store)
            return await obstore.sign_async(store, "GET", key, timedelta(seconds=seconds))


def _open(place: StoragePlace) -> AnyStore:
    from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

    if place.scheme == "file":
        # Photos are nobody else's: made before obstore would, which takes the mode of the process.
        Path(place.prefix).mkdir(mode=0o700, parents=True, exist_ok=True)
        return LocalStore(place.prefix, mkdir=True)
    retry_config = {"max_retries": _MAX_RETRIES, "retry_timeout": timedelta(seconds=_RETRY_S)}
    prefix = place.prefix or None
    if place.scheme == "s3":
        return S3Store(place.bucket, prefix=prefix, retry_config=retry_config)  # type: ignore[arg-type]
    if place.scheme == "gs":
        return GCSStore(place.bucket, prefix=prefix, retry_config=retry_config)  # type: ignore[arg-type]
    if place.scheme == "az":
        return AzureStore(place.bucket, prefix=prefix, retry_config=retry_config)  # type: ignore[arg-type]
    raise ValueError(f"got a place of scheme {place.scheme!r}, expected file or one of {', '.join(BUCKET_SCHEMES)}")


@contextmanager
def _translated(word: str) -> Iterator[None]:
    """Turn what obstore raises into our error; that an object is missing passes as `FileNotFoundError`."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        # A bucket that is missing looks alike; for a put nothing else can be meant.
        if word == "written":
            raise _unavailable(word, error) from error
        raise
    # obstore has ValueError for paths that a store cannot have, NotImplementedError for what a kind of store lacks.
    except (BaseError, OSError, ValueError, NotImplementedError) as error:
        raise _unavailable(word, error) from error


def _unavailable(word: str, error: Exception) -> StorageUnavailableError:
    # The store's own words may hold addresses and keys: they are for whoever runs the service.
    logger.warning("an object cannot be %s: %s", word, _first_line(error))
    return StorageUnavailableError(f"An object cannot be {word} ({type(error).__name__}); try again later.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:400]
