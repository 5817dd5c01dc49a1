"""Photos in callers' buckets: read and written with the service's credentials, and so only where settings allow it.

Nobody's key of the service's own storage can be named here: settings with which it could are refused (`app.settings`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import anyio

from app.errors import ImageFetchError, ImageUrlRefusedError, UploadsBusyError, UploadTooLargeError
from app.storage.errors import OutputDeliveryError, OutputUrlRefusedError, StorageUnavailableError
from app.storage.objects import ObjectStore
from app.storage.urls import NOTHING, AllowedPrefixes, ObjectUrl, StoragePlace, parse_object_url

if TYPE_CHECKING:
    from app.settings import Settings

_DELIVERY_DELAYS_S = (0.0, 0.5, 2.0)


class Room(Protocol):
    """Memory that bytes take which are being read, as `app.api.budget.UploadShare` counts it."""

    held_bytes: int

    def expect(self, total_bytes: int) -> None:
        """Look whether there is room for this many bytes in all; raises `UploadsBusyError` if not."""

    def grow(self, more_bytes: int) -> None:
        """Take room for bytes that have come; raises `UploadsBusyError` if there is none."""


@dataclass(frozen=True)
class BucketPolicy:
    """What callers may do.

    Attributes:
        readable: Where photos may be read.
        writable: Where results may be written.
        total_s: Longest time in seconds for reading one photo.
        at_once: Photos that one process reads at a time.
    """

    readable: AllowedPrefixes = NOTHING
    writable: AllowedPrefixes = NOTHING
    total_s: float = 30.0
    at_once: int = 8

    @classmethod
    def of(cls, settings: Settings) -> BucketPolicy:
        """Give the policy that the settings ask for."""
        return cls(
            AllowedPrefixes.parse(settings.input_prefixes),
            AllowedPrefixes.parse(settings.output_prefixes),
            settings.fetch_timeout_s,
            settings.fetches_at_once,
        )


class CallerBuckets:
    """The buckets of callers; one per process and event loop.

    Args:
        policy: What callers may do.
    """

    def __init__(self, policy: BucketPolicy) -> None:
        self._policy = policy
        self._stores: dict[tuple[str, str], ObjectStore] = {}  # no more than the policy names
        self._slots = asyncio.Semaphore(policy.at_once)

    def apart(self) -> CallerBuckets:
        """Give another one like this, with slots of its own."""
        return CallerBuckets(self._policy)

    async def fetch(self, text: str, tenant: str, max_bytes: int, room: Room) -> bytes:
        """Read a photo.

        Args:
            text: Its address, given by a caller.
            tenant: On whose behalf.
            max_bytes: Most bytes to take.
            room: Where the bytes are counted.

        Raises:
            ImageUrlRefusedError: The address is none, or none that the settings allow this caller.
            ImageFetchError: The bucket does not give the photo.
            UploadTooLargeError: There are more bytes.
            UploadsBusyError: Other fetches or uploads leave no room.
        """
        try:
            url = parse_object_url(text)
        except ValueError as error:
            raise ImageUrlRefusedError(f"The URL is not fetched: {error}.") from None
        if url.key.endswith("/") or not self._policy.readable.allows(url, tenant):
            raise ImageUrlRefusedError(
                "The URL is not fetched: it names no object that photos are read from here (VLMIR_INPUT_PREFIXES)."
            )
        await self._take_slot()
        try:
            with anyio.fail_after(self._policy.total_s):
                return await self._read(url, max_bytes, room)
        except (StorageUnavailableError, TimeoutError) as error:
            raise ImageFetchError(f"The bucket {url.bucket} does not give the photo.", retryable=True) from error
        finally:
            self._slots.release()

    async def _take_slot(self) -> None:
        try:
            with anyio.fail_after(self._policy.total_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise UploadsBusyError(
                f"{self._policy.at_once} photos are being fetched, which is the most at a time. Send it again later."
            ) from error

    async def _read(self, url: ObjectUrl, max_bytes: int, room: Room) -> bytes:
        refusal = UploadTooLargeError(f"The photo has more than {max_bytes:,} bytes, the most that is allowed.")
        body = bytearray()
        async with self._store(url).opened(url.key) as found:
            if found is None:
                raise ImageFetchError(f"There is no such object in the bucket {url.bucket}.")
            size, chunks = found
            if size > max_bytes:
                raise refusal
            room.expect(room.held_bytes + size)
            async for chunk in chunks:
                if len(body) + len(chunk) > max_bytes:
                    raise refusal
                room.grow(len(chunk))
                body += chunk
        return bytes(body)

    def check_output(self, text: str, tenant: str) -> ObjectUrl:
        """Read the address for a result.

        Args:
            text: Given by a caller: an object, or with a slash at its end the beginning of the object's name.
            tenant: On whose behalf.

        Raises:
            OutputUrlRefusedError: The address is none, or none that the settings allow this caller.
        """
        try:
            url = parse_object_url(text)
        except ValueError as error:
            raise OutputUrlRefusedError(f"`output_url` is not written to: {error}.") from None
        if not self._policy.writable.allows(url, tenant):
            raise OutputUrlRefusedError(
                "`output_url` is not written to: it is not where results are written here (VLMIR_OUTPUT_PREFIXES)."
            )
        return url

    async def deliver(self, text: str, tenant: str, name: str, data: bytes, media_type: str) -> None:
        """Write a result, replacing what is there; tries a few times.

        Args:
            text: As for `check_output`, which is asked once more: this process may have other settings.
            tenant: On whose behalf.
            name: Name of the object where the address is a beginning.
            data: Bytes of the result.
            media_type: What they are.

        Raises:
            OutputUrlRefusedError: It may not be written there.
            OutputDeliveryError: The bucket does not take it.
        """
        url = self.check_output(text, tenant)
        key = url.key + name if url.key.endswith("/") else url.key
        for delay_s in _DELIVERY_DELAYS_S:
            await asyncio.sleep(delay_s)
            try:
                return await self._store(url).put(key, data, media_type)
            except StorageUnavailableError as error:
                failure = error
        raise OutputDeliveryError(f"The bucket {url.bucket} did not take the result.") from failure

    def _store(self, url: ObjectUrl) -> ObjectStore:
        place = url.scheme, url.bucket
        if place not in self._stores:
            self._stores[place] = ObjectStore.at(StoragePlace(*place))
        return self._stores[place]
