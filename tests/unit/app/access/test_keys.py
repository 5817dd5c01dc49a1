"""How API keys look and what they allow."""

from __future__ import annotations

import re

import pytest

from app.access.keys import (
    ApiKey,
    check_name,
    check_tenant,
    digest_of,
    has_form,
    id_of,
    new_token,
    parse_scopes,
)


def key(**changes: object) -> ApiKey:
    fields = {
        "id": "a" * 10,
        "name": "n",
        "tenant": "t",
        "scopes": frozenset({"jobs:read"}),
        "digest": "",
        "created_ms": 0,
    }
    return ApiKey(**{**fields, **changes})  # type: ignore[arg-type]


def test_tokens_are_recognisable_and_never_the_same() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len({id_of(token) for token in tokens}) == 100
    assert all(re.fullmatch(r"vlmir_[0-9A-Za-z]{48}", token) and has_form(token) for token in tokens)
    token = tokens.pop()
    assert id_of(token) == token[6:16]
    assert token[16:] not in digest_of(token)


def test_each_mistyped_character_is_noticed() -> None:
    token = new_token()
    for place in range(6, len(token)):
        other = "0" if token[place] != "0" else "1"
        assert not has_form(token[:place] + other + token[place + 1 :])
    for wrong in ("", "vlmir_", token[:-1], token + "0", token.upper(), " " + token, token.replace("vlmir_", "other_")):
        assert not has_form(wrong)


def test_admin_is_good_for_everything_and_others_for_what_they_say() -> None:
    assert key().allows("jobs:read")
    assert not key().allows("jobs:write")
    assert all(key(scopes=frozenset({"admin"})).allows(scope) for scope in ("jobs:read", "jobs:write", "metrics:read"))


def test_revoked_and_expired_keys_have_a_flaw() -> None:
    assert key().flaw_at(10**15) is None
    assert key(expires_ms=100).flaw_at(99) is None
    assert key(expires_ms=100).flaw_at(100) == "expired"
    assert key(expires_ms=100, revoked_ms=1).flaw_at(0) == "revoked"


def test_names_tenants_and_scopes_are_checked() -> None:
    assert parse_scopes(["jobs:read", " admin"]) == {"jobs:read", "admin"}
    for scopes in ([], ["jobs"], ["jobs:read", ""]):
        with pytest.raises(ValueError, match="scopes"):
            parse_scopes(scopes)
    assert check_tenant("acme.eu-1_x") == "acme.eu-1_x"
    for tenant in ("", "a b", "a:b", ".a", "x" * 65, "ä"):
        with pytest.raises(ValueError, match="tenant"):
            check_tenant(tenant)
    assert check_name("Ada's laptop") == "Ada's laptop"
    for name in ("", "  ", "a\nb", "x" * 101):
        with pytest.raises(ValueError, match="name"):
            check_name(name)
