"""Which addresses need keys."""

from __future__ import annotations

import pytest

from app.access.openness import explain, is_loopback, is_open


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "::1", "[::1]"])
def test_loopback_is_open_unless_keys_are_wanted(host: str) -> None:
    assert is_loopback(host)
    assert is_open(host, None)
    assert not is_open(host, False)
    assert "no API key" in explain(host, None)
    assert "keys create" in explain(host, False)


ELSEWHERE = ["0.0.0.0", "::", "", "10.0.0.7", "192.168.1.1", "example.org", "localhost.example.org"]  # noqa: S104


@pytest.mark.parametrize("host", ELSEWHERE)
def test_other_addresses_need_keys_unless_asked_for(host: str) -> None:
    assert not is_loopback(host)
    assert not is_open(host, None)
    assert is_open(host, True)
    assert "VLMIR_OPEN_ACCESS" in explain(host, True)
