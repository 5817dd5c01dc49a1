"""The rule for a user of Redis, as docs/security.md has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import redis

PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def rule_words(password: str) -> list[str]:
    """The words behind `ACL SETUSER vlmir`."""
    text = PAGE.read_text(encoding="utf-8").partition("```\nACL SETUSER vlmir ")[2].partition("```")[0]
    assert text, f"{PAGE.name} has no rule"
    return text.replace(">PASSWORD", f">{password}").split()


def add_user(client: redis.Redis, password: str) -> None:
    """Makes the user."""
    execute: Any = client.execute_command  # untyped in redis-py
    execute("ACL", "SETUSER", "vlmir", *rule_words(password))
