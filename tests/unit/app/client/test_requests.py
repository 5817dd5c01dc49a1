"""What a submission looks like on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from app.client.requests import submission
from app.commands.photo_options import Quality


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("steps", 4, "4"),
        ("quality", Quality.BEST, "best"),
        ("start_within", 2.5, "2.5"),
        ("caption", "a, b", "a, b"),
        ("kinds", "rain,snow", "rain,snow"),
        ("kinds", ["rain", "snow"], "rain,snow"),
        ("kinds", ("rain",), "rain"),
        ("kinds", (), ""),
        ("metadata", {"order": 7, "tags": ["é", None]}, '{"order": 7, "tags": ["\\u00e9", null]}'),
        ("metadata", {}, "{}"),
    ],
)
def test_options_become_texts_that_the_service_reads(name: str, value: Any, text: str) -> None:
    request = submission(b"photo", None, None, {name: value, "model": None})
    assert request.data == {name: text}
