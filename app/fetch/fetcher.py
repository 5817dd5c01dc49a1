"""Fetching a photo by its URL.

A name is resolved once per hop. All its addresses must be allowed, and the connection goes to one of exactly those, so
a name server that changes its mind in between gains nothing; TLS still checks the certificate against the name.
Redirections are followed by hand, each by the same rules. No proxies, cookies or credentials are used.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin

import anyio
import httpx

from app.errors import ImageFetchError, ImageUrlRefusedError, UploadsBusyError, UploadTooLargeError
from app.fetch.addresses import IPAddress, IPNetwork, address_refusal, parse_networks
from app.fetch.resolver import Resolver, resolve_by_system
from app.fetch.urls import FetchTarget, parse_url

if TYPE_CHECKING:
    from app.settings import Settings

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_ADDRESSES = 4
_HEADERS = {"Accept": "image/*, */*;q=0.1", "Accept-Encoding": "identity", "User-Agent": "vlmir"}


class Room(Protocol):
    """Memory that fetched bytes take, as `app.api.budget.UploadShare` counts it."""

    held_bytes: int

    def expect(self, total_bytes: int) -> None:
        """Look whether there is room for this many bytes in all; raises `UploadsBusyError` if not."""

    def grow(self, more_bytes: int) -> None:
        """Take room for bytes that have come; raises `UploadsBusyError` if there is none."""


@dataclass(frozen=True)
class FetchPolicy:
    """Bounds of fetching.

    Attributes:
        allow_http: Whether plain http will do.
        allowed_networks: Networks that are fetched from although their addresses are not public.
        max_redirects: Redirections that are followed.
        connect_s: Longest time for one connection, in seconds.
        read_s: Longest silence of the other side.
        total_s: Longest time for everything, redirections included.
        at_once: Fetches at a time in one process.
    """

    allow_http: bool = False
    allowed_networks: tuple[IPNetwork, ...] = ()
    max_redirects: int = 3
    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 30.0
    at_once: int = 8

    @classmethod
    def of(cls, settings: Settings) -> FetchPolicy:
        """Give the policy that the settings ask for."""
        return cls(
            allow_http=settings.fetch_http,
            allowed_networks=parse_networks(settings.fetch_networks),
            total_s=settings.fetch_timeout_s,
            at_once=settings.fetches_at_once,
        )


class ImageFetcher:
    """Fetches photos; one per process and event loop.

    Args:
        policy: Bounds.
        resolver: Gives the addresses of names.
        tls: Whom to trust; None trusts the usual authorities.
    """

    def __init__(
        self, policy: FetchPolicy, resolver: Resolver = resolve_by_system, tls: ssl.SSLContext | None = None
    ) -> None:
        self.policy = policy
        self._resolver = resolver
        self._tls = tls
        self._slots = asyncio.Semaphore(policy.at_once)

    def apart(self) -> ImageFetcher:
        """Give another fetcher like this one, with slots of its own."""
        return ImageFetcher(self.policy, self._resolver, self._tls)

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
        limits = httpx.Timeout(self.policy.read_s, connect=self.policy.connect_s)
        if self._tls is None:
            self._tls = httpx.create_ssl_context()
        for _ in range(self.policy.max_redirects + 1):
            addresses = await self._resolve(target)
            # A client per hop: nothing, not even a connection, is carried over from one host to the next.
            async with httpx.AsyncClient(
                verify=self._tls, timeout=limits, trust_env=False, follow_redirects=False
            ) as client:
                response = await _open(client, target, addresses)
                try:
                    if response.status_code not in _REDIRECTS:
                        return await _read(response, target, max_bytes, room)
                    location = response.headers.get("location", "")
                finally:
                    await response.aclose()
            target = parse_url(_absolute(target, location), allow_http=self.policy.allow_http)
        raise ImageFetchError(f"The URL redirects more than {self.policy.max_redirects} times.")

    async def _resolve(self, target: FetchTarget) -> Sequence[IPAddress]:
        addresses: Sequence[IPAddress]
        if target.address is not None:
            addresses = [target.address]
        else:
            try:
                addresses = await self._resolver(target.host, target.port)
            except (OSError, UnicodeError) as error:
                raise ImageFetchError(f"The host {target.host} has no address.", retryable=True) from error
        if not addresses:
            raise ImageFetchError(f"The host {target.host} has no address.", retryable=True)
        for address in addresses:
            # One that is refused refuses all: a name with public and private addresses is up to no good.
            refusal = address_refusal(address, self.policy.allowed_networks)
            if refusal is not None:
                raise ImageUrlRefusedError(
                    f"The URL is not fetched: {target.host} leads to an address that is not public ({refusal})."
                )
        return addresses[:_MOST_ADDRESSES]


async def _open(client: httpx.AsyncClient, target: FetchTarget, addresses: Sequence[IPAddress]) -> httpx.Response:
    """Ask for the photo at the first address that can be connected to; gives the answer, its body not read."""
    failure: Exception | None = None
    for address in addresses:
        try:
            request = client.build_request(
                "GET",
                target.url_at(address),
                headers={**_HEADERS, "Host": target.authority},
                extensions={"sni_hostname": target.host},  # also the name that the certificate must be for
            )
            return await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # noqa: PERF203 - at most four
            failure = error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ImageFetchError(f"{target.host} gave no answer ({type(error).__name__}).", retryable=True) from error
    # What lies behind an error of TLS (an expired certificate, the wrong name) is for the caller to find out.
    raise ImageFetchError(f"{target.host} cannot be connected to.", retryable=True) from failure


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
