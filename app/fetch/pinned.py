"""Requests to addresses that were judged beforehand.

A name is resolved once per request. All its addresses must be allowed, and the connection goes to one of exactly those,
so a name server that changes its mind in between gains nothing; TLS still checks the certificate against the name.
Redirections are not followed. No proxies, cookies or credentials are used.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from app.errors import ImageFetchError
from app.fetch.addresses import IPAddress, IPNetwork, address_refusal, parse_networks
from app.fetch.resolver import Resolver, resolve_by_system
from app.fetch.urls import FetchTarget, refusal

if TYPE_CHECKING:
    from app.settings import Settings

_MOST_ADDRESSES = 4


@dataclass(frozen=True)
class FetchPolicy:
    """Bounds of what goes out to addresses that callers give.

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


class PinnedClient:
    """Sends single requests; one per process and event loop.

    Args:
        policy: What may be asked, and for how long one waits.
        resolver: Gives the addresses of names.
        tls: Whom to trust; None trusts the usual authorities.
    """

    def __init__(
        self, policy: FetchPolicy, resolver: Resolver = resolve_by_system, tls: ssl.SSLContext | None = None
    ) -> None:
        self.policy = policy
        self._resolver = resolver
        self._tls = tls

    @asynccontextmanager
    async def answer(
        self, method: str, target: FetchTarget, headers: Mapping[str, str], content: bytes | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Send a request; gives the answer, its body not read, for as long as the block lasts.

        Args:
            method: HTTP method.
            target: Where to; a caller's URL, read by `app.fetch.urls.parse_url`.
            headers: Headers beside Host.
            content: Body.

        Raises:
            ImageUrlRefusedError: The name leads to an address that is not allowed.
            ImageFetchError: The other side does not answer.
        """
        limits = httpx.Timeout(self.policy.read_s, connect=self.policy.connect_s)
        if self._tls is None:
            self._tls = httpx.create_ssl_context()
        addresses = await self._resolve(target)
        # A client per request: nothing, not even a connection, is carried over from one host to the next.
        async with httpx.AsyncClient(
            verify=self._tls, timeout=limits, trust_env=False, follow_redirects=False
        ) as client:
            response = await _open(client, method, target, addresses, headers, content)
            try:
                yield response
            finally:
                await response.aclose()

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
            self.check_address(target, address)
        return addresses[:_MOST_ADDRESSES]

    def check_address(self, target: FetchTarget, address: IPAddress) -> None:
        """Refuse an address that is not allowed.

        Raises:
            ImageUrlRefusedError: It is not.
        """
        why = address_refusal(address, self.policy.allowed_networks)
        if why is not None:
            raise refusal(f"{target.host} leads to an address that is not public ({why})")


async def _open(
    client: httpx.AsyncClient,
    method: str,
    target: FetchTarget,
    addresses: Sequence[IPAddress],
    headers: Mapping[str, str],
    content: bytes | None,
) -> httpx.Response:
    """Ask at the first address that can be connected to; gives the answer, its body not read."""
    failure: Exception | None = None
    for address in addresses:
        try:
            request = client.build_request(
                method,
                target.url_at(address),
                headers={**headers, "Host": target.authority},
                content=content,
                extensions={"sni_hostname": target.host},  # also the name that the certificate must be for
            )
            return await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # noqa: PERF203 - at most four
            failure = error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ImageFetchError(f"{target.host} gave no answer ({type(error).__name__}).", retryable=True) from error
    # What lies behind an error of TLS (an expired certificate, the wrong name) is for the caller to find out.
    raise ImageFetchError(f"{target.host} cannot be connected to.", retryable=True) from failure
