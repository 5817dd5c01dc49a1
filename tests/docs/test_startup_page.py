"""Every row of docs/startup.md is used by a test that starts a real process."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.roles import PageRow, page_row, page_rows

TESTS = Path(__file__).parents[1] / "e2e"


def texts_of_tests() -> set[str]:
    """All strings in the tests of starting."""
    texts: set[str] = set()
    for path in TESTS.glob("test_startup_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts |= {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    return {text.strip("`") for text in texts if len(text) > 5}


@pytest.mark.parametrize("row", page_rows(), ids=lambda row: row.message[:40])
def test_every_row_is_run(row: PageRow) -> None:
    begins = [text for text in texts_of_tests() if row.message.startswith(text)]
    assert begins, f"no test starts a process that says {row.message!r}"
    assert all(page_row(text) == row for text in begins if len(text) > 12)


def test_there_are_rows() -> None:
    assert len(page_rows()) >= 25
