"""Whether a service needs keys: not on an address that only this machine reaches, elsewhere unless asked for."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Say whether an address to listen on is reached from this machine alone. No name is looked up but localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


def is_open(host: str, wanted: bool | None) -> bool:
    """Say whether requests without a key are taken.

    Args:
        host: Address on which the API listens.
        wanted: What the operator says; None leaves it to the address.
    """
    return is_loopback(host) if wanted is None else wanted


def is_for_this_machine(host: str, wanted: bool | None) -> bool:
    """Say whether requests without a key are taken for no other reason than that only this machine reaches the address.

    Args:
        host: Address on which the API listens.
        wanted: As for `is_open`.
    """
    return wanted is None and is_loopback(host)


def explain(host: str, wanted: bool | None) -> str:
    """Say in a sentence for operators who is let in."""
    if not is_open(host, wanted):
        return "requests need an API key; `vlmir keys create NAME` makes one"
    if is_loopback(host):
        return "no API key is needed, because only this machine reaches the address"
    return f"no API key is needed (VLMIR_OPEN_ACCESS): whoever reaches {host} may use the service"
