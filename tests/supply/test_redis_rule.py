"""The rule for Redis in docs/security.md has every command that the source sends, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.redis_rule import rule_words

ROOT = Path(__file__).parents[2]
CLIENT = {"hello", "select", "evalsha", "script|load", "subscribe", "unsubscribe"}
"""What redis-py sends by itself."""
OTHERS = {"sentinel", "cluster"}
"""What is asked of Sentinels and of nodes of a cluster, not of the server with the data by a service's user."""


def commands_in_source() -> set[str]:
    found: set[str] = set()
    for folder in ("app/jobs/lua", "app/access/lua"):
        for path in (ROOT / folder).glob("*.lua"):
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r"redis\.p?call\(\s*\"(\w+)\"", text))
            assert len(re.findall(r"redis\.p?call\(", text)) == len(re.findall(r"redis\.p?call\(\s*\"\w+\"", text)), (
                path
            )
    for folder in ("app/jobs", "app/access"):
        for path in (ROOT / folder).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r"\bcall\(\s*(?:self\.)?_?redis,\s*\"(\w+)\"", text))
            found |= set(re.findall(r"send_command\(\"(\w+)\"", text))
    return {command.lower() for command in found} - OTHERS


def test_rule_is_what_the_source_needs() -> None:
    allowed = {word[1:] for word in rule_words("PASSWORD") if word.startswith("+")}
    assert sorted(commands_in_source() - allowed) == []
    assert sorted(allowed - commands_in_source() - CLIENT) == []
