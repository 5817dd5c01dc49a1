"""Sockets on which the API listens, and why there may be none."""

from __future__ import annotations

import errno
import os
import socket

_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ListenError(Exception):
    """The process cannot listen where it was told to; the message says what to do.

    Args:
        message: What and why.
        is_absent: Whether the machine does not have the address.
    """

    def __init__(self, message: str, is_absent: bool = False) -> None:
        super().__init__(message)
        self.is_absent = is_absent


def listen(host: str, port: int) -> socket.socket:
    """Open a socket on the first address of a host that this machine has.

    Args:
        host: Name or address.
        port: Port; 0 takes a free one.

    Raises:
        ListenError: The address is not known, not of this machine, taken, or not allowed.
    """
    return _open_those_there_are(host, port, most=1)[0]


def listen_everywhere(host: str, port: int) -> list[socket.socket]:
    """Open a socket on every address of a host: "localhost" is 127.0.0.1 and ::1. Same arguments and errors."""
    return _open_those_there_are(host, port, most=1 if port == 0 else None)  # it would be another port for each


_Address = tuple[int, int, int, str, tuple[object, ...]]


def _open_those_there_are(host: str, port: int, most: int | None) -> list[socket.socket]:
    """Open sockets on addresses that the machine has, at least one: names lead to ::1 also where there is no IPv6."""
    listeners: list[socket.socket] = []
    absent: ListenError | None = None
    for address in _addresses_of(host, port):
        if len(listeners) == most:
            break
        try:
            listeners.append(_open(host, port, address))
        except ListenError as error:
            if error.is_absent:
                absent = error
                continue
            for listener in listeners:
                listener.close()
            raise
    if absent is not None and not listeners:
        raise absent
    return listeners


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
        message = f"cannot listen on {host}, port {port} {_explain(error, port)}"
        raise ListenError(message, error.errno in _ABSENT) from None
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

    Children get them too: what a library there writes to standard error must not go into a socket either.
    """
    while True:
        fd = os.open(os.devnull, os.O_RDWR)
        if fd > 2:
            os.close(fd)
            return
        os.set_inheritable(fd, True)
