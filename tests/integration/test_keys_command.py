"""`vlmir keys`, and commands that bring a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.access.keys import has_form
from app.cli import app
from app.client import AsyncVlmirClient
from app.jobs.embedded import EmbeddedRedis
from tests.support.api import api_settings
from tests.support.server import live_api


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch, redis_url: str, namespace: str) -> None:
    monkeypatch.setenv("VLMIR_REDIS_URL", redis_url)
    monkeypatch.setenv("VLMIR_NAMESPACE", namespace)
    monkeypatch.delenv("VLMIR_API_KEY", raising=False)


def keys(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["keys", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_key_is_shown_once_listed_and_revoked() -> None:
    made = keys("create", "mobile app", "--tenant", "acme", "--scope", "jobs:read", "--expires", "90d")
    token = made.stdout.strip().splitlines()[-1]
    assert has_form(token)
    (listed,) = [json.loads(line) for line in keys("ls", "--json").stdout.splitlines()]
    assert (listed["id"], listed["tenant"], listed["scopes"]) == (token[6:16], "acme", ["jobs:read"])
    assert listed["expires_at"] > listed["created_at"]
    shown = keys("ls").output
    assert "mobile app" in shown
    assert token[16:] not in shown
    assert "revoked" in keys("revoke", listed["id"]).output
    assert "revoked" in keys("ls").output
    assert "there is no key" in keys("revoke", "nobody", code=1).output


def test_what_is_not_valid_is_named() -> None:
    for arguments in (["x", "--scope", "jobs"], ["x", "--tenant", "a b"], ["x", "--expires", "soon"], [""]):
        assert "got" in keys("create", *arguments, code=2).output
    assert keys("ls", "--json").stdout == ""


def test_embedded_server_is_found_while_it_runs_and_started_when_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("VLMIR_REDIS_URL")
    monkeypatch.setenv("VLMIR_STATE_DIR", str(tmp_path))
    keys("create", "before")
    redis = EmbeddedRedis(tmp_path)
    redis.start()
    try:
        keys("create", "while")
    finally:
        redis.stop()
    names = [json.loads(line)["name"] for line in keys("ls", "--json").stdout.splitlines()]
    assert names == ["before", "while"]


@pytest.mark.anyio
async def test_client_brings_its_key(redis_url: str, namespace: str) -> None:
    async with live_api(api_settings(redis_url, namespace, open_access=False)) as api:
        _, token = await api.services.access.keyring.create("test", "acme", frozenset({"jobs:read"}))
        url = f"http://127.0.0.1:{api.port}"
        async with AsyncVlmirClient(url, api_key=token) as client:
            assert (await client.page()).jobs == ()
            with pytest.raises(Exception, match="needs jobs:write") as refused:
                await client.submit(b"photo")
            assert getattr(refused.value, "code", "") == "insufficient_scope"
        async with AsyncVlmirClient(url) as client:
            with pytest.raises(Exception, match="Send an API key") as refused:
                await client.page()
            assert getattr(refused.value, "code", "") == "authentication_required"


def test_limits_of_a_tenant_are_shown_given_and_taken_back() -> None:
    assert "acme (default): any number of POST requests per second" in keys("limit", "acme").output
    given = keys("limit", "acme", "--rate", "2.5", "--daily-megapixels", "500").output
    assert "(its own): 2.5 POST requests per second, 10 at once, any number of jobs per day, 500 megapixels" in given
    assert "20 at once" in keys("limit", "acme", "--burst", "20").output
    assert "2.5 POST requests" in keys("limit", "acme").output
    assert "(default)" in keys("limit", "acme", "--reset").output
    assert "leave the others out" in keys("limit", "acme", "--reset", "--rate", "1", code=2).output
