"""From a host's name to its addresses, asked once per request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from app.fetch.addresses import IPAddress

Resolver = Callable[[str, int], Awaitable[Sequence[IPAddress]]]
"""Gives the addresses of a host name (for a port), most wanted first; `OSError` when there are none."""


async def resolve_by_system(host: str, port: int) -> list[IPAddress]:
    """Ask the system's resolver.

    Args:
        host: Name without a dot at its end.
        port: Port that will be connected to.

    Raises:
        OSError: The name has no address, or the resolver does not answer.
    """
    loop = asyncio.get_running_loop()
    # The dot keeps search domains out: a caller's name must not be completed to one of this network.
    rows = await loop.getaddrinfo(f"{host}.", port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(ip_address(row[4][0]) for row in rows))
