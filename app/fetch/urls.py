"""Reading the URL of a photo: one reading only, so that nothing later can read it another way. Pure functions.

Whatever browsers and libraries understand differently (numbers for addresses, unusual characters, credentials) is
refused and not interpreted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from app.errors import ImageUrlRefusedError
from app.fetch.addresses import IPAddress

MAX_URL_CHARS = 2048
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?P<authority>[^/?#]*))?(?P<rest>[^#]*)(?:#.*)?")
_CHARS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"https": 443, "http": 80}
_FIRST_FREE_PORT = 1024  # below are mail, shells and the like, which must not be talked to by a caller's words


@dataclass(frozen=True)
class FetchTarget:
    """Where a URL leads.

    Attributes:
        scheme: "https" or "http".
        host: Name in lower case, or the text of an address without brackets.
        port: Port number.
        address: The address when the URL has one in the place of a name.
        path: Path and query, beginning with a slash.
    """

    scheme: str
    host: str
    port: int
    address: IPAddress | None
    path: str

    @property
    def authority(self) -> str:
        """Host and, if it is not the usual one, port, as a Host header has them."""
        return _joined(self.host, None if self.port == _PORTS[self.scheme] else self.port)

    @property
    def url(self) -> str:
        """The URL as it was understood."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def url_at(self, address: IPAddress) -> str:
        """Give the URL with an address in the place of the name."""
        return f"{self.scheme}://{_joined(str(address), self.port)}{self.path}"


def parse_url(text: str, *, allow_http: bool = False) -> FetchTarget:
    """Read a URL.

    Args:
        text: What the caller, or a redirection, gave.
        allow_http: Whether plain http will do.

    Raises:
        ImageUrlRefusedError: It is not a plain https URL with a host name or a usual address.
    """
    if len(text) > MAX_URL_CHARS:
        raise refusal(f"it has {len(text)} characters, at most {MAX_URL_CHARS} are allowed")
    if not _CHARS.fullmatch(text):
        raise refusal("it has characters that a URL cannot have; percent-encode them, and write hosts as xn--")
    match = _URL.fullmatch(text)
    if match is None:
        raise refusal("it does not begin with https://")
    scheme = match["scheme"].lower()
    if scheme not in _PORTS or (scheme == "http" and not allow_http):
        raise refusal(f"its scheme is {scheme[:16]!r}, and only https is fetched")
    authority = match["authority"] or ""
    if "@" in authority:
        raise refusal("it has credentials; use a signed URL")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None or "%" in authority:
        raise refusal("its host cannot be read")
    port = int(parts["port"]) if parts["port"] else _PORTS[scheme]
    if port not in _PORTS.values() and not _FIRST_FREE_PORT <= port <= 65535:
        raise refusal(f"its port is {port}; 443 and those above {_FIRST_FREE_PORT - 1} are fetched from")
    host, address = _read_host(parts["host"].lower())
    path = match["rest"] or "/"
    return FetchTarget(scheme, host, port, address, path if path.startswith("/") else f"/{path}")


def _read_host(host: str) -> tuple[str, IPAddress | None]:
    if host.startswith("["):
        try:
            address = IPv6Address(host[1:-1])
        except AddressValueError:
            raise refusal("its host is no IPv6 address") from None
        return str(address), address
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):  # then everybody takes the whole for an address, in one of several ways
        try:
            return host, IPv4Address(host)  # four decimal numbers without leading zeros
        except AddressValueError:
            raise refusal("its host is an IPv4 address in an unusual form") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise refusal("its host is no host name")
    if len(labels) == 1 or labels[-1] == "localhost":
        raise refusal("its host is a name of this machine or of its network")
    return host, None


def _joined(host: str, port: int | None) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port is None else f"{bracketed}:{port}"


def refusal(reason: str) -> ImageUrlRefusedError:
    """Give the error for a URL that is none."""
    return ImageUrlRefusedError(f"The URL is not fetched: {reason}.")
