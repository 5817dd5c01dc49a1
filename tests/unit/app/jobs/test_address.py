from __future__ import annotations

import pytest

from app.errors import UnusableRedisError
from app.jobs.address import QueueAddress, parse_address


@pytest.mark.parametrize("url", ["redis://host:6379/2", "rediss://u:p@host", "unix:///run/redis.sock?db=1"])
def test_address_of_one_server_is_left_to_the_client(url: str) -> None:
    assert parse_address(url) == QueueAddress("server", url)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (
            "redis+sentinel://a,b:26380/photos",
            QueueAddress("sentinel", "redis://localhost/0", (("a", 26379), ("b", 26380)), "photos"),
        ),
        (
            "rediss+sentinel://me:p%40ss@[::1]:5000/the%20one/3?ssl_ca_certs=/a&sentinel_password=x%26y&sentinel_username=s",
            QueueAddress(
                "sentinel",
                "rediss://me:p%40ss@localhost/3?ssl_ca_certs=%2Fa",
                (("::1", 5000),),
                "the one",
                ("s", "x&y"),
            ),
        ),
        (
            "redis+cluster://:secret@n1,[fe80::2],n3:7000/0",
            QueueAddress("cluster", "redis://:secret@localhost/0", (("n1", 6379), ("fe80::2", 6379), ("n3", 7000))),
        ),
        ("rediss+cluster://n1", QueueAddress("cluster", "rediss://localhost/0", (("n1", 6379),))),
    ],
)
def test_address_of_several_nodes_is_read(url: str, address: QueueAddress) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no scheme"),
        ("localhost:6379", "no scheme"),
        ("http://:secret@host", "'http'; expected one of redis://, rediss://, unix://, redis\\+sentinel://"),
        ("redis://:secret@host:port", "look at the host and the port"),
        ("redis+sentinel://:secret@host", "the name of a master"),
        ("redis+sentinel://:secret@host/name/db", "the name of a master"),
        ("redis+sentinel://:secret@host/a/0/1", "the name of a master"),
        ("redis+sentinel://:secret@host,/name", "hosts with commas between"),
        ("redis+sentinel://:secret@host:0/name", "a port of 1 to 65535"),
        ("redis+cluster://:secret@host:65536", "a port of 1 to 65535"),
        ("redis+cluster://:secret@host/1", "no other database than 0"),
        ("redis+cluster://:secret@[host", "look at the host and the port"),
    ],
)
def test_other_addresses_are_refused_without_showing_the_password(url: str, reason: str) -> None:
    with pytest.raises(UnusableRedisError, match=reason) as refused:
        parse_address(url)
    assert "secret" not in refused.value.detail
