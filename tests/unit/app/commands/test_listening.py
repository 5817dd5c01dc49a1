from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from app.commands.listening import ListenError, listen, listen_everywhere


def test_taken_port_and_foreign_address_are_told_apart() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1, port {port} \(Address already in use\): .*--port 0"):
            listen("127.0.0.1", port)
    with pytest.raises(ListenError, match=r"Cannot assign requested address.*--host"):
        listen("192.0.2.1", 0)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 300, "a..b", "1.2.3.4.5"])
def test_what_is_no_address_is_told(host: str) -> None:
    with pytest.raises(ListenError, match="--host"):
        listen(host, 0)


def test_a_name_with_several_addresses_has_a_socket_for_each(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, free_port)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*both, both[0]])
    listeners = listen_everywhere("both.test", free_port)
    try:
        assert [item.getsockname()[0] for item in listeners] == ["127.0.0.1", "127.0.0.2"]
        with pytest.raises(ListenError):
            listen_everywhere("both.test", free_port)
    finally:
        for item in listeners:
            item.close()
    with listen("127.0.0.2", free_port), pytest.raises(ListenError):  # and what was opened before is closed again
        listen_everywhere("both.test", free_port)
    listen("127.0.0.1", free_port).close()


def test_addresses_that_the_machine_has_not_are_passed_over(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, free_port)) for host in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    (only,) = listen_everywhere("half.test", free_port)
    only.close()
    listen("half.test", free_port).close()
    del found[1]
    with pytest.raises(ListenError, match="Cannot assign requested address"):
        listen_everywhere("half.test", free_port)


def test_any_free_port_is_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    (only,) = listen_everywhere("both.test", 0)
    only.close()


@pytest.mark.skipif(os.name != "posix", reason="closes standard streams as a shell does")
def test_no_socket_becomes_a_standard_stream() -> None:
    script = (
        "from app.commands.listening import fill_standard_streams, listen; fill_standard_streams();"
        "import sys; sys.exit(listen('127.0.0.1', 0).fileno())"
    )
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&-', "sh", sys.executable, "-c", script], check=False)
    assert done.returncode > 2


@pytest.mark.skipif(os.name != "posix", reason="closes standard streams as a shell does")
def test_children_have_standard_streams_too() -> None:
    script = (
        "from app.commands.listening import fill_standard_streams; fill_standard_streams();"
        "import subprocess, sys; child = 'import os; os.fstat(1); os.fstat(2)';"
        "sys.exit(subprocess.run([sys.executable, '-c', child], close_fds=True).returncode)"
    )
    done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-c", script], check=False)
    assert done.returncode == 0
