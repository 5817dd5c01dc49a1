"""From a host's name to its addresses, asked once per request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from ipaddress import ip_address
from typing import Any

from app.fetch.addresses import IPAddress

Resolver = Callable[[str, int], Awaitable[Sequence[IPAddress]]]
"""Gives the addresses of a host name (for a port), most wanted first; `OSError` when there are none."""

LOOKUPS = 16
"""Lookups at a time in one process."""
THREADS = 64
"""Threads for them: more, because one that nobody waits for any more goes on until the system gives up."""
PATIENCE_S = 10.0


class SystemResolver:
    """Asks the system's resolver; one per process and event loop.

    The system's call cannot be stopped. So that name servers that never answer keep nothing waiting but those who ask
    them, it runs in threads of its own and not in those that connections to Redis and files share.

    Args:
        lookups: Lookups at a time.
        threads: Most threads; above `lookups`.
        patience_s: Seconds after which a lookup is given up.
    """

    def __init__(self, lookups: int = LOOKUPS, threads: int = THREADS, patience_s: float = PATIENCE_S) -> None:
        self._places = asyncio.Semaphore(lookups)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolver")
        self._patience_s = patience_s

    async def __call__(self, host: str, port: int) -> list[IPAddress]:
        """Give the addresses of a name.

        Args:
            host: Name without a dot at its end.
            port: Port that will be connected to.

        Raises:
            OSError: The name has no address, or the resolver does not answer.
        """
        loop = asyncio.get_running_loop()
        async with self._places:
            try:
                asked = loop.run_in_executor(self._threads, _look_up, host, port)
                rows = await asyncio.wait_for(asked, self._patience_s)
            except asyncio.TimeoutError:  # no OSError before Python 3.11
                raise TimeoutError(f"no name server answered within {self._patience_s:g} s") from None
        return list(dict.fromkeys(ip_address(row[4][0]) for row in rows))


async def resolve_by_system(host: str, port: int) -> list[IPAddress]:
    """Ask the system's resolver, as one `SystemResolver` for the whole process.

    Raises:
        OSError: As there.
    """
    return await _of_process()(host, port)


@cache
def _of_process() -> SystemResolver:
    return SystemResolver()


def _look_up(host: str, port: int) -> list[Any]:
    # The dot keeps search domains out: a caller's name must not be completed to one of this network.
    return socket.getaddrinfo(f"{host}.", port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
