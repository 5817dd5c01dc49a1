"""Which requests pages of elsewhere send."""

from __future__ import annotations

import pytest

from app.access.errors import ForeignPageError
from app.access.pages import PageGuard

HERE = ("localhost", "localhost:8000", "LocalHost.:1", "app.localhost", "127.0.0.1:8000", "[::1]:8000", "0.0.0.0:1", "")


@pytest.mark.parametrize("host", HERE)
def test_hosts_that_are_this_machine_pass(host: str) -> None:
    for method in ("GET", "DELETE"):
        PageGuard().check(method, host, None)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example"]
)
def test_names_that_lead_here_by_a_trick_are_refused(host: str) -> None:
    for guard in (PageGuard(), PageGuard(("*",))):
        with pytest.raises(ForeignPageError, match="is for the host"):
            guard.check("GET", host, None)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "", "http://127.0.0.1.evil.example", "http://192.0.2.1", "localhost"]
)
def test_pages_of_elsewhere_send_nothing_unless_they_are_named(origin: str) -> None:
    with pytest.raises(ForeignPageError, match="VLMIR_CORS_ORIGINS"):
        PageGuard(("https://photos.example",)).check("POST", "localhost:8000", origin)
    PageGuard().check("GET", "localhost:8000", origin)
    PageGuard(("*",)).check("POST", "localhost:8000", origin)


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1:8000", "http://[::1]", "https://Photos.example"]
)
def test_pages_of_this_machine_and_named_ones_do(origin: str) -> None:
    PageGuard(("https://photos.example",)).check("POST", "localhost:8000", origin)


def test_a_page_may_send_to_where_it_came_from() -> None:
    PageGuard().check("POST", "192.0.2.1:8000", "http://192.0.2.1:8000")
