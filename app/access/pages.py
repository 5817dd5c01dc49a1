"""Requests that pages of elsewhere make a browser send to a service that asks for no key, being for its machine alone.

A browser on that machine reaches the service, and any page in it can have requests sent there. But no page can choose
the headers Host and Origin. One whose name was made to lead to this machine (DNS rebinding), and which could then read
every answer, shows that name in Host; one that sends a form across sites shows itself in Origin.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from app.access.errors import ForeignPageError
from app.access.openness import is_loopback

_READING = frozenset({"GET", "HEAD", "OPTIONS"})  # whose answers browsers keep from pages of elsewhere (CORS)
_SHOWN_CHARS = 64


@dataclass(frozen=True)
class PageGuard:
    """Tells requests of this machine's own programs and pages from those of pages of elsewhere.

    Attributes:
        origins: Of pages of elsewhere that may call, or "*" alone for all.
    """

    origins: tuple[str, ...] = ()

    def check(self, method: str, host: str, origin: str | None) -> None:
        """Refuse a request that a page of elsewhere sends.

        Args:
            method: HTTP method.
            host: Value of the header Host; empty when there is none, which browsers never do.
            origin: Value of Origin, or None.

        Raises:
            ForeignPageError: The request names a host that this machine is not known by, or would change something and
                comes from a page that may not call.
        """
        if not _is_here(host):
            raise ForeignPageError(
                f"The request is for the host {host[:_SHOWN_CHARS]!r}, and this service, which asks for no key, is for "
                "its machine alone. Use localhost or the address. If others are to reach it, set VLMIR_OPEN_ACCESS to "
                "false and give them keys, or to true."
            )
        if origin is not None and method not in _READING and not self._may_send(origin.lower(), host.lower()):
            raise ForeignPageError(
                f"The page at {origin[:_SHOWN_CHARS]!r} may not send anything here. VLMIR_CORS_ORIGINS names the pages "
                "that may."
            )

    def _may_send(self, origin: str, host: str) -> bool:
        if self.origins == ("*",) or origin in self.origins:
            return True
        authority = origin.partition("://")[2]  # empty for "null", which is anybody
        name = _host_of(authority)
        return bool(name) and (authority == host or _is_local_name(name) or is_loopback(name))


def _is_here(authority: str) -> bool:
    """Say whether a host can be no name that somebody made lead here: an address is not looked up anywhere."""
    name = _host_of(authority.lower())
    return not name or _is_local_name(name) or _is_address(name)


def _host_of(authority: str) -> str:
    text = authority.strip()
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0].removesuffix(".")


def _is_local_name(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
