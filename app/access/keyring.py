"""The API keys of a service, in Redis: a hash per key and a sorted set of them all. Only digests are kept."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

from app.access.errors import InvalidApiKeyError
from app.access.keys import ApiKey, digest_of, has_form, id_of, new_token
from app.errors import QueueUnavailableError
from app.jobs.connection import call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.asyncio import Redis

    from app.jobs.keys import Keys

CACHE_S = 5.0
"""Time for which a process remembers a good key; also how long a revoked one may still be taken."""
_CACHED = 1024
_TOUCH_MS = 60_000  # one write a minute is enough to know whether a key is in use


class Keyring:
    """Makes, finds and revokes keys. All methods raise `QueueUnavailableError` while Redis cannot work.

    Args:
        redis: Client that gives bytes.
        keys: Names of the service's keys in Redis.
        clock: Seconds since the epoch.
    """

    def __init__(self, redis: Redis, keys: Keys, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._all = f"{keys.prefix}apikeys"
        self._record = f"{keys.prefix}apikey:"
        self._clock = clock
        self._seen: OrderedDict[str, tuple[ApiKey, float]] = OrderedDict()  # digest -> key, when it was looked up

    async def create(
        self, name: str, tenant: str, scopes: frozenset[str], lifetime_s: float | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key.

        Args:
            name: What people call it.
            tenant: Whose requests it is for.
            scopes: What it allows.
            lifetime_s: Seconds for which it is valid; None for any time.

        Returns:
            What is kept of it, and the key itself, which nobody can find out again.
        """
        token, now_ms = new_token(), self._now_ms()
        expires_ms = None if lifetime_s is None else now_ms + int(lifetime_s * 1000)
        key = ApiKey(id_of(token), name, tenant, scopes, digest_of(token), now_ms, expires_ms)
        fields = [word for pair in _encode(key).items() for word in pair]
        # In this order, so that a crash in between leaves a name without a key and not a key that no list shows.
        await call(self._redis, "ZADD", self._all, now_ms, key.id)
        await call(self._redis, "HSET", self._record + key.id, *fields)
        return key, token

    async def all(self) -> list[ApiKey]:
        """List the keys, oldest first, revoked ones too."""
        names = await call(self._redis, "ZRANGE", self._all, 0, -1)
        found = [await self._load(name.decode()) for name in names]
        return [key for key in found if key is not None]

    async def revoke(self, key_id: str) -> ApiKey | None:
        """Make a key invalid for good; gives it, or None when there is none of this id."""
        key = await self._load(key_id)
        if key is None:
            return None
        await call(self._redis, "HSETNX", self._record + key_id, "revoked_ms", self._now_ms())
        self._seen.pop(key.digest, None)
        return await self._load(key_id)

    async def find(self, token: str) -> ApiKey:
        """Give the key that a request brought.

        Raises:
            InvalidApiKeyError: There is no such key (any more).
        """
        if not has_form(token):
            raise InvalidApiKeyError("That is no API key of this service: it is not complete, or mistyped.")
        digest = digest_of(token)
        key, looked_s = self._seen.get(digest, (None, 0.0))
        if key is None or not 0 <= self._clock() - looked_s < CACHE_S:
            key = await self._load(id_of(token))
            if key is None or not hmac.compare_digest(key.digest, digest):
                raise InvalidApiKeyError("This service has no such API key.")
            self._remember(key)
            await self._touch(key)
        flaw = key.flaw_at(self._now_ms())
        if flaw is not None:
            raise InvalidApiKeyError(f"The API key {key.id} is {flaw}. Ask for a new one.")
        return key

    def _remember(self, key: ApiKey) -> None:
        self._seen[key.digest] = (key, self._clock())
        self._seen.move_to_end(key.digest)
        if len(self._seen) > _CACHED:
            self._seen.popitem(last=False)

    async def _touch(self, key: ApiKey) -> None:
        now_ms = self._now_ms()
        if now_ms - (key.last_used_ms or 0) >= _TOUCH_MS and key.flaw_at(now_ms) is None:
            with suppress(QueueUnavailableError):  # at its memory limit Redis still lets people in
                await call(self._redis, "HSET", self._record + key.id, "last_used_ms", now_ms)

    async def _load(self, key_id: str) -> ApiKey | None:
        fields = await call(self._redis, "HGETALL", self._record + key_id)
        return _decode(fields) if fields else None

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _encode(key: ApiKey) -> dict[str, str]:
    fields: dict[str, str | int | None] = {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": ",".join(sorted(key.scopes)),
        "digest": key.digest,
        "created_ms": key.created_ms,
        "expires_ms": key.expires_ms,
    }
    return {name: str(value) for name, value in fields.items() if value is not None}


def _decode(fields: Mapping[bytes, bytes]) -> ApiKey | None:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    if "digest" not in text:  # a note about a key that was never finished
        return None
    times = {name: int(text[name]) for name in ("expires_ms", "revoked_ms", "last_used_ms") if name in text}
    scopes = frozenset(text["scopes"].split(","))
    return ApiKey(text["id"], text["name"], text["tenant"], scopes, text["digest"], int(text["created_ms"]), **times)
