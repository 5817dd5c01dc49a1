"""URLs are read in one way only. Those that must be refused are in `app.bench.ssrf`."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ImageUrlRefusedError
from app.fetch.urls import MAX_URL_CHARS, parse_url


@pytest.mark.parametrize(
    ("text", "host", "port", "path", "authority"),
    [
        ("https://photos.example/a.jpg", "photos.example", 443, "/a.jpg", "photos.example"),
        ("HTTPS://Photos.Example/A%20b.jpg?x=1&y=%2F#part", "photos.example", 443, "/A%20b.jpg?x=1&y=%2F",
         "photos.example"),
        ("https://photos.example", "photos.example", 443, "/", "photos.example"),
        ("https://photos.example?x=1", "photos.example", 443, "/?x=1", "photos.example"),
        ("https://photos.example:443/a", "photos.example", 443, "/a", "photos.example"),
        ("https://photos.example:8443/a", "photos.example", 8443, "/a", "photos.example:8443"),
        ("https://xn--bcher-kva.example/a", "xn--bcher-kva.example", 443, "/a", "xn--bcher-kva.example"),
        ("https://my_bucket.s3.example/a", "my_bucket.s3.example", 443, "/a", "my_bucket.s3.example"),
        ("https://1.1.1.1/a", "1.1.1.1", 443, "/a", "1.1.1.1"),
        ("https://[2606:4700::1111]:8443/a", "2606:4700::1111", 8443, "/a", "[2606:4700::1111]:8443"),
    ],
)  # fmt: skip
def test_plain_urls_are_read(text: str, host: str, port: int, path: str, authority: str) -> None:
    target = parse_url(text)
    assert (target.scheme, target.host, target.port, target.path) == ("https", host, port, path)
    assert target.authority == authority
    assert target.url == f"https://{authority}{path}"
    assert target.url_at(ip_address("2003::1")) == f"https://[2003::1]:{port}{path}"


def test_http_needs_leave_and_length_is_bounded() -> None:
    with pytest.raises(ImageUrlRefusedError, match="https"):
        parse_url("http://photos.example/a")
    assert parse_url("http://photos.example/a", allow_http=True).port == 80
    longest = "https://photos.example/".ljust(MAX_URL_CHARS, "a")
    assert parse_url(longest).host == "photos.example"
    with pytest.raises(ImageUrlRefusedError, match="2049 characters"):
        parse_url(longest + "a")


@given(st.text(alphabet="ahtps:/.@[]?#%\\ 0127x\t\nÀ-_&;", max_size=40))
def test_what_passes_is_read_alike_by_the_standard_library(text: str) -> None:
    try:
        target = parse_url(f"https://{text}")
    except ImageUrlRefusedError:
        return
    parts = urlsplit(f"https://{text}")
    assert (parts.username, parts.password) == (None, None)
    assert parts.hostname == target.host
    assert (parts.port or 443) == target.port
