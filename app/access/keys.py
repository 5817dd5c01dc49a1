"""API keys: how one looks, what it allows, how it is told from noise. Plain values: no Redis, no clock.

A key is `vlmir_`, ten characters that name it, thirty-two random ones (190 bits), and six that check the others, so
that people and secret scanners recognise it, and a typing error is refused without a look into the store.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

PREFIX = "vlmir_"
"""Beginning of every key; anything else is not one of ours."""
SCOPES = ("jobs:read", "jobs:write", "metrics:read", "admin")
"""What keys may allow; "admin" is all of it."""
DEFAULT_SCOPES = ("jobs:read", "jobs:write")
DEFAULT_TENANT = "default"
"""Tenant of whoever needs no key."""

_ALPHABET = string.digits + string.ascii_letters
_ID_CHARS, _SECRET_CHARS, _CHECK_CHARS = 10, 32, 6
_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_ID_CHARS + _SECRET_CHARS + _CHECK_CHARS}}}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAX_NAME_CHARS = 100


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key; the key itself is not.

    Times are UTC milliseconds.

    Attributes:
        id: Names the key; also its part after `PREFIX`.
        name: What people call it.
        tenant: On whose behalf requests with it come.
        scopes: What it allows, some of `SCOPES`.
        digest: SHA-256 of the whole key as hex digits. No slow hash is needed: nobody guesses 190 random bits.
        created_ms: When it was made.
        expires_ms: From when on it is not valid, or None.
        revoked_ms: When it was revoked, or None.
        last_used_ms: When it was used last, give or take a minute, or None.
    """

    id: str
    name: str
    tenant: str
    scopes: frozenset[str]
    digest: str
    created_ms: int
    expires_ms: int | None = None
    revoked_ms: int | None = None
    last_used_ms: int | None = None

    def allows(self, scope: str) -> bool:
        """Say whether the key is good for something."""
        return scope in self.scopes or "admin" in self.scopes

    def flaw_at(self, now_ms: int) -> str | None:
        """Say why the key is not valid at a moment: "revoked" or "expired"; None when it is."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and self.expires_ms <= now_ms else None


def new_token() -> str:
    """Give a fresh key, as its holder gets it."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARS + _SECRET_CHARS))
    return PREFIX + body + _checksum(body)


def has_form(token: str) -> bool:
    """Say whether a text could be one of our keys."""
    return bool(_FORM.fullmatch(token)) and _checksum(token[len(PREFIX) : -_CHECK_CHARS]) == token[-_CHECK_CHARS:]


def id_of(token: str) -> str:
    """Give the part of a key that names it and may be seen by anybody."""
    return token[len(PREFIX) : len(PREFIX) + _ID_CHARS]


def digest_of(token: str) -> str:
    """Give what is kept of a key to recognise it."""
    return hashlib.sha256(token.encode()).hexdigest()


def check_tenant(tenant: str) -> str:
    """Give the name of a tenant.

    Raises:
        ValueError: It is none.
    """
    if not _TENANT.fullmatch(tenant):
        raise ValueError(f"got the tenant {tenant[:64]!r}; expected 1 to 64 letters, digits, '.', '_' and '-'")
    return tenant


def check_name(name: str) -> str:
    """Give the name of a key.

    Raises:
        ValueError: It is none.
    """
    if not name.strip() or len(name) > _MAX_NAME_CHARS or not name.isprintable():
        raise ValueError(f"got the name {name[:64]!r}; expected 1 to {_MAX_NAME_CHARS} printable characters")
    return name


def parse_scopes(names: Iterable[str]) -> frozenset[str]:
    """Give scopes, at least one.

    Raises:
        ValueError: There is none, or one is not among `SCOPES`.
    """
    given = frozenset(name.strip() for name in names)
    unknown = sorted(given.difference(SCOPES))
    if unknown or not given:
        raise ValueError(f"got the scopes {unknown or 'none'}; there are {', '.join(SCOPES)}")
    return given


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), []
    for _ in range(_CHECK_CHARS):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)
