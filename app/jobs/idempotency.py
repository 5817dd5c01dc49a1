"""Idempotency-Keys: the same request sent again gives the same job, by draft-ietf-httpapi-idempotency-key-header.

A key is held from the moment its request is known in full until it is accepted or refused, so that a repetition that
comes in between is told so. What it became is recorded by the script that accepts it, together with the job: there is
no moment at which one is there without the other. A refused request leaves nothing behind, so it may be corrected.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.errors import IdempotencyInProgressError, IdempotencyKeyReusedError, QueueUnavailableError
from app.jobs.renewing import renewed

if TYPE_CHECKING:
    from app.jobs.scripts import Scripts

HOLD_MS = 15_000
"""Time after which a key whose holder disappeared is free; renewed for as long as accepting takes."""


@dataclass(frozen=True)
class KeyUse:
    """One request under a key.

    Attributes:
        name: Name of the key in Redis; of one tenant.
        fingerprint: Of the whole request.
        token: Tells this request from its repetitions.
    """

    name: str
    fingerprint: str
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, tenant: str, key: str, fingerprint: str) -> KeyUse:
        """Give the use of a tenant's key by a request with this fingerprint."""
        # Hashed, so that no key is too long and no tenant can name another's.
        name = hashlib.sha256(f"{len(tenant)}:{tenant}:{key}".encode()).hexdigest()
        return cls(name, fingerprint)


class IdempotencyKeys:
    """The keys of one queue.

    Args:
        scripts: The scripts of the queue.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asynccontextmanager
    async def held(self, use: KeyUse | None) -> AsyncIterator[str | None]:
        """Hold a key while the block accepts its request; without effect for None.

        Gives:
            The id of what was accepted for this request before, or None: then it is to be accepted now.

        Raises:
            IdempotencyKeyReusedError: The key belongs to another request.
            IdempotencyInProgressError: The first such request is still being accepted.
        """
        if use is None:
            yield None
            return
        word, first = await self._scripts.reserve_key(use, HOLD_MS)
        check_key(word)
        if word == "repeated":
            yield first
            return

        async def renew() -> None:
            await self._scripts.reserve_key(use, HOLD_MS)  # changes nothing once the key is settled or another's

        try:
            async with renewed(renew, HOLD_MS / 4000):
                yield None
        except BaseException:
            with contextlib.suppress(QueueUnavailableError):  # then it goes after its time
                await self._scripts.release_key(use)
            raise


def check_key(word: str) -> None:
    """Raise what an answer of a script says about the key.

    Raises:
        IdempotencyKeyReusedError: The key belongs to another request.
        IdempotencyInProgressError: The first such request is still being accepted.
    """
    if word == "reused":
        raise IdempotencyKeyReusedError(
            "This Idempotency-Key came with another photo or other options before; use a new key for a new request."
        )
    if word == "accepting":
        raise IdempotencyInProgressError(
            "The first request with this Idempotency-Key is still being accepted; send it again in a moment."
        )
