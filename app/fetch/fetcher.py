"""Fetching a photo by its URL, every hop by the rules of `app.fetch.pinned`; redirections are followed by hand."""

from __future__ import annotations

import asyncio
import ssl
from typing import Protocol
from urllib.parse import urljoin

import anyio
import httpx

from app.errors import ImageFetchError, UploadsBusyError, UploadTooLargeError
from app.fetch.pinned import FetchPolicy, PinnedClient
from app.fetch.resolver import Resolver, resolve_by_system
from app.fetch.urls import FetchTarget, parse_url

__all__ = ["FetchPolicy", "ImageFetcher", "Room"]

_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = {"Accept": "image/*, */*;q=0.1", "Accept-Encoding": "identity", "User-Agent": "vlmir"}


class Room(Protocol):
    """Memory that fetched bytes take, as `app.api.budget.UploadShare` counts it."""

    held_bytes: int

    def expect(self, total_bytes: int) -> None:
        """Look whether there is room for this many bytes in all; raises `UploadsBusyError` if not."""

    def grow(self, more_bytes: int) -> None:
        """Take room for bytes that have come; raises `UploadsBusyError` if there is none."""


class ImageFetcher:
    """Fetches photos; one per process and event loop.

    Args:
        policy: Bounds.
        resolver: Gives the addresses of names.
        tls: Whom to trust; None trusts the usual authorities.

    Attributes:
        policy: Bounds.
        pinned: Sends single requests by the same bounds.
    """

    def __init__(
        self, policy: FetchPolicy, resolver: Resolver = resolve_by_system, tls: ssl.SSLContext | None = None
    ) -> None:
        self.policy = policy
        self.pinned = PinnedClient(policy, resolver, tls)
        self._slots = asyncio.Semaphore(policy.at_once)

    def apart(self) -> ImageFetcher:
        """Give another fetcher like this one, with slots of its own."""
        other = ImageFetcher(self.policy)
        other.pinned = self.pinned
        return other

    async def fetch(self, url: str, max_bytes: int, room: Room) -> bytes:
        """Fetch the bytes at a URL.

        Args:
            url: Given by a caller.
            max_bytes: Most bytes to take.
            room: Where the bytes are counted.

        Raises:
            ImageUrlRefusedError: The URL, or one that it redirects to, is none that is fetched.
            ImageFetchError: The other side does not give the photo.
            UploadTooLargeError: There are more bytes.
            UploadsBusyError: Other fetches or uploads leave no room.
        """
        target = parse_url(url, allow_http=self.policy.allow_http)
        await self._take_slot()
        try:
            with anyio.fail_after(self.policy.total_s):
                return await self._follow(target, max_bytes, room)
        except TimeoutError as error:
            raise ImageFetchError(
                f"{target.host} did not give the photo within {self.policy.total_s:g} s.", retryable=True
            ) from error
        finally:
            self._slots.release()

    async def _take_slot(self) -> None:
        try:
            with anyio.fail_after(self.policy.total_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise UploadsBusyError(
                f"{self.policy.at_once} photos are being fetched, which is the most at a time. Send it again later."
            ) from error

    async def _follow(self, target: FetchTarget, max_bytes: int, room: Room) -> bytes:
        for _ in range(self.policy.max_redirects + 1):
            async with self.pinned.answer("GET", target, _HEADERS) as response:
                if response.status_code not in _REDIRECTS:
                    return await _read(response, target, max_bytes, room)
                location = response.headers.get("location", "")
            target = parse_url(_absolute(target, location), allow_http=self.policy.allow_http)
        raise ImageFetchError(f"The URL redirects more than {self.policy.max_redirects} times.")


async def _read(response: httpx.Response, target: FetchTarget, max_bytes: int, room: Room) -> bytes:
    status = response.status_code
    if status != 200:
        is_passing = status >= 500 or status in (408, 425, 429)
        raise ImageFetchError(f"{target.host} answered with status {status}, expected 200.", retryable=is_passing)
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ImageFetchError(f"{target.host} sends the photo in an encoding that was not asked for.")
    refusal = UploadTooLargeError(f"The photo at the URL has more than {max_bytes:,} bytes, the most that is allowed.")
    declared = response.headers.get("content-length", "")
    if declared.isdecimal():
        if int(declared) > max_bytes:
            raise refusal
        room.expect(room.held_bytes + int(declared))
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            if len(body) + len(chunk) > max_bytes:
                raise refusal
            room.grow(len(chunk))
            body += chunk
    except httpx.HTTPError as error:
        raise ImageFetchError(
            f"{target.host} stopped in the middle of the photo ({type(error).__name__}).", retryable=True
        ) from error
    return bytes(body)


def _absolute(target: FetchTarget, location: str) -> str:
    """Give where a redirection leads."""
    try:
        return urljoin(target.url, location)
    except ValueError:
        return location  # `parse_url` says what is wrong with it
