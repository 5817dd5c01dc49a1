"""Which addresses are public. What must be refused in URLs is in `app.bench.ssrf`, which an integration test runs."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.fetch.addresses import address_refusal, parse_networks


@pytest.mark.parametrize(
    "text",
    ["93.184.215.14", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "168.63.129.17",
     "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001::200e",
     "2003::1", "2400::1"],
)  # fmt: skip
def test_public_addresses_are_fetched_from(text: str) -> None:
    assert address_refusal(ip_address(text)) is None


@given(st.ip_addresses())
def test_nothing_passes_that_this_python_knows_not_to_be_global(address: object) -> None:
    known = ip_address(str(address))
    if address_refusal(known) is None:
        assert known.is_global
        assert not known.is_multicast


@given(st.ip_addresses(v=4))
def test_no_form_of_six_carries_an_address_of_four(address: object) -> None:
    four = int(ip_address(str(address)))
    for prefix in ("::ffff:0:0", "::ffff:0:0:0", "::", "64:ff9b::", "64:ff9b:1::"):
        assert address_refusal(IPv6Address(int(IPv6Address(prefix)) + four)) is not None
    assert address_refusal(IPv6Address((0x2002 << 112) + (four << 80))) is not None
    for mark in (0x5EFE, 0x02005EFE):
        assert address_refusal(IPv6Address((0x2A00 << 112) + (mark << 32) + four)) is not None


def test_allowed_networks_are_exceptions_and_nothing_else() -> None:
    allowed = parse_networks(" 10.20.0.0/16, fd12:3456::/32,")
    assert allowed == (ip_network("10.20.0.0/16"), ip_network("fd12:3456::/32"))
    assert address_refusal(ip_address("10.20.1.2"), allowed) is None
    assert address_refusal(ip_address("10.21.1.2"), allowed) == "private"
    assert address_refusal(ip_address("fd12:3456::7"), allowed) is None
    assert address_refusal(ip_address("fd12:3456::7%eth0"), allowed) is not None
    assert address_refusal(ip_address("::ffff:10.20.1.2"), allowed) is not None
    assert parse_networks("") == ()


@pytest.mark.parametrize(
    "text",
    ["127.0.0.0/8", "127.0.0.1", "169.254.0.0/16", "0.0.0.0/0", "::/0", "::1/128", "fe80::/10", "8.0.0.0/8",
     "100.64.0.0/10", "fc00::/7", "fd00:ec2::254/128", "fd20:ce::/32", "fd20:ce::254",
     "fd00:c1::/32", "fd00::/8", "10.0.0.0/7", "10.0.0.1/8", "intranet"],
)  # fmt: skip
def test_what_must_never_be_allowed_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"private|metadata|network|host bits"):
        parse_networks(text)
