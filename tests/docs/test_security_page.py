"""What docs/security.md names as proof is there."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from app.cli import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/.]+)`", PAGE))
    assert len(named) > 20
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_every_command_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([a-z-]+)`", PAGE))
    assert "audit" in targets
    assert sorted(target for target in targets if f"\n{target}:" not in makefile) == []
    benches = set(re.findall(r"`vlmir bench ([a-z-]+)`", PAGE))
    known = CliRunner().invoke(app, ["bench", "--help"]).output
    assert benches
    assert sorted(name for name in benches if name not in known) == []


def test_every_page_that_is_linked_exists() -> None:
    links = set(re.findall(r"\]\(([\w./-]+\.md)\)", PAGE))
    assert links
    assert sorted(link for link in links if not (ROOT / "docs" / link).is_file()) == []
