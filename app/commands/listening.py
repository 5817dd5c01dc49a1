"""Sockets on which the API listens, and why there may be none."""

from __future__ import annotations

import errno
import os
import socket


class ListenError(Exception):
    """The process cannot listen where it was told to; the message says what to do."""


def listen(host: str, port: int) -> socket.socket:
    """Open a socket on the first address of a host.

    Args:
        host: Name or address.
        port: Port; 0 takes a free one.

    Raises:
        ListenError: The address is not known, not of this machine, taken, or not allowed.
    """
    return _open(host, port, _addresses_of(host, port)[0])


def listen_everywhere(host: str, port: int) -> list[socket.socket]:
    """Open a socket on every address of a host: "localhost" is 127.0.0.1 and ::1. Same arguments and errors."""
    addresses = _addresses_of(host, port)
    if port == 0:  # which would be another port for each
        addresses = addresses[:1]
    listeners: list[socket.socket] = []
    try:
        listeners += (_open(host, port, address) for address in addresses)
    except ListenError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


_Address = tuple[int, int, int, str, tuple[object, ...]]


def _addresses_of(host: str, port: int) -> list[_Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror:
        raise ListenError(f"the address {host!r} is not known on this machine; choose another with --host") from None
    except (ValueError, UnicodeError):  # an empty label, or one that is too long
        raise ListenError(f"{host[:80]!r} is no address; choose another with --host") from None
    return list(dict.fromkeys((int(item[0]), int(item[1]), *item[2:]) for item in found))


def _open(host: str, port: int, address: _Address) -> socket.socket:
    family, kind, protocol, _, place = address
    listener = None
    try:
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 has a socket of its own
        listener.bind(place)
        listener.listen(1024)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ListenError(f"cannot listen on {host}, port {port} {_explain(error, port)}") from None
    return listener


def _explain(error: OSError, port: int) -> str:
    reason = f"({error.strerror or error}):"
    if error.errno == errno.EADDRINUSE:
        return f"{reason} stop the program that listens there, choose another with --port, or --port 0 for a free one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{reason} this machine does not have that address; choose another with --host, 0.0.0.0 for all it has"
    if error.errno in (errno.EACCES, errno.EPERM) and port < 1024:
        return f"{reason} ports below 1024 are kept for root; choose another with --port"
    return f"{reason} choose another with --host or --port"


def fill_standard_streams() -> None:
    """Open what is closed of standard input, output and error, so that no socket gets their numbers.

    A child has its own standard streams under these numbers, and so would not find the socket.
    """
    while True:
        fd = os.open(os.devnull, os.O_RDWR)
        if fd > 2:
            os.close(fd)
            return
