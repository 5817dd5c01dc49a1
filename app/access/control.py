"""The parts of access control that one API process has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.access.keyring import Keyring
from app.access.limiter import Limiter
from app.access.limits import Limits
from app.access.openness import is_for_this_machine, is_open
from app.access.origins import parse_origins
from app.access.pages import PageGuard
from app.jobs.connection import connect
from app.jobs.keys import Keys

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from app.settings import Settings


@dataclass(frozen=True)
class AccessControl:
    """Who may do what.

    Attributes:
        redis: Connections of its own, opened when they are needed first.
        keyring: The API keys.
        limiter: Holds tenants to their limits.
        is_open: Whether requests without a key are taken, as those of the tenant "default".
        pages: What keeps web pages of elsewhere out of a service that is open to its machine alone; else None.
    """

    redis: Redis
    keyring: Keyring
    limiter: Limiter
    is_open: bool
    pages: PageGuard | None

    @classmethod
    def of(cls, settings: Settings) -> AccessControl:
        """Give what the settings ask for.

        Raises:
            ValueError: There is no Redis address.
        """
        if settings.redis_url is None:
            raise ValueError("API keys are kept in Redis: set VLMIR_REDIS_URL")
        redis, keys = connect(settings.redis_url), Keys(settings.namespace)
        limiter = Limiter(redis, keys, Limits.of(settings))
        access = settings.host, settings.open_access
        pages = PageGuard(parse_origins(settings.cors_origins)) if is_for_this_machine(*access) else None
        return cls(redis, Keyring(redis, keys), limiter, is_open(*access), pages)

    async def close(self) -> None:
        """Close the connections."""
        await self.redis.aclose()
