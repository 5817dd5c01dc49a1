"""Which addresses may be fetched from: pure functions.

The ranges are listed here and not asked of `ipaddress` alone, whose answers differ between versions of Python. Sources:
IANA's registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890 and its successors).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_REFUSED_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(text), why)
    for text, why in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers and clouds"),  # 100.100.100.200 is a metadata service
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's host service"),  # a public address that only virtual machines of Azure see
        ("169.254.0.0/16", "link-local"),  # 169.254.169.254 is most clouds' metadata service
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),  # 192.0.0.192 is a metadata service
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
# Forms that carry an IPv4 address come before the ranges in which they lie. A public host needs none of them.
_REFUSED_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(text), why)
    for text, why in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4-mapped form"),
        ("::ffff:0:0:0/96", "an IPv4-translated form"),
        ("::/96", "an IPv4-compatible form"),
        ("64:ff9b::/96", "a NAT64 form"),
        ("64:ff9b:1::/48", "a NAT64 form"),
        ("2001::/32", "a Teredo form"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "a 6to4 form"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "private"),  # fd00:ec2::254 is a metadata service
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)

_MAY_BE_ALLOWED: tuple[IPNetwork, ...] = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
_METADATA: tuple[IPAddress, ...] = (
    IPv4Address("100.100.100.200"),  # Alibaba
    IPv6Address("fd00:ec2::254"),  # AWS
    IPv6Address("fd20:ce::254"),  # Google
    IPv6Address("fd00:c1::a9fe:a9fe"),  # Oracle
)


def address_refusal(address: IPAddress, allowed: Sequence[IPNetwork] = ()) -> str | None:
    """Say why nothing may be fetched from an address, or None if it may.

    Args:
        address: Where a connection would go.
        allowed: Networks that are allowed all the same.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "bound to an interface"
    if any(address in network for network in allowed):
        return None
    if isinstance(address, IPv4Address):
        why = next((why for network, why in _REFUSED_V4 if address in network), None)
    else:
        why = next((why for network, why in _REFUSED_V6 if address in network), None)
        if why is None and address not in _GLOBAL_V6:
            why = "not global"
        if why is None and (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            why = "an ISATAP form"
    if why is None and not address.is_global:  # a range that this list does not know and this Python does
        why = "not global"
    return why


def parse_networks(text: str) -> tuple[IPNetwork, ...]:
    """Read a comma-separated list of private networks that may be fetched from.

    Loopback, link-local addresses and clouds' metadata services cannot be allowed by it.

    Args:
        text: Such as "10.20.0.0/16,fd12:3456::/32"; empty for none.

    Raises:
        ValueError: An item is no network, not within the private ranges, or holds a metadata service.
    """
    networks = []
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        network = ip_network(item)
        if not any(
            network.version == outer.version and network.subnet_of(outer)  # type: ignore[arg-type]
            for outer in _MAY_BE_ALLOWED
        ):
            private = ", ".join(str(outer) for outer in _MAY_BE_ALLOWED)
            raise ValueError(f"{item} is not within the private networks {private}")
        if any(address in network for address in _METADATA):
            raise ValueError(f"{item} holds the address of a cloud's metadata service; name smaller networks")
        networks.append(network)
    return tuple(networks)
