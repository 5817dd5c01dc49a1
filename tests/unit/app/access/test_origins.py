"""Origins of web pages."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.access.origins import parse_origins
from app.settings import Settings


def test_origins_are_read() -> None:
    assert parse_origins("") == ()
    assert parse_origins("*") == ("*",)
    assert parse_origins(" https://Photos.example , http://localhost:3000,http://[::1]:8000") == (
        "https://photos.example",
        "http://localhost:3000",
        "http://[::1]:8000",
    )


@pytest.mark.parametrize(
    "text", ["photos.example", "https://a.b/", "https://a.b/c", "*,https://a.b", "null", "ftp://a"]
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an origin"):
        parse_origins(text)
    with pytest.raises(ValidationError):
        Settings(cors_origins=text)
