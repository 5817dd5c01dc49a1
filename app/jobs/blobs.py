"""Storage of uploaded photos and results, apart from the queue so that an object store can take its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.jobs.connection import call

if TYPE_CHECKING:
    from redis.asyncio import Redis


class BlobStore:
    """Bytes under a name, in Redis.

    Args:
        redis: Client that gives bytes (no `decode_responses`).
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def put(self, name: str, data: bytes, ttl_s: int) -> None:
        """Store bytes for `ttl_s` seconds, replacing what has the name.

        Raises:
            QueueUnavailableError: Redis cannot be reached or has no memory left.
        """
        await call(self._redis, "SET", name, data, "EX", ttl_s)

    async def get(self, name: str) -> bytes | None:
        """Give the bytes, or None when there are none.

        Raises:
            QueueUnavailableError: Redis cannot be reached.
        """
        data: bytes | None = await call(self._redis, "GET", name)
        return data

    async def size(self, name: str) -> int | None:
        """Give the number of bytes, or None when there are none.

        Raises:
            QueueUnavailableError: Redis cannot be reached.
        """
        return int(await call(self._redis, "STRLEN", name)) or None

    async def part(self, name: str, start: int, stop: int) -> bytes:
        """Give the bytes from `start` up to, not including, `stop`; fewer when there are not so many.

        Raises:
            QueueUnavailableError: Redis cannot be reached.
        """
        data: bytes = await call(self._redis, "GETRANGE", name, start, stop - 1)
        return data

    async def delete(self, *names: str) -> None:
        """Delete what is there of the names.

        Raises:
            QueueUnavailableError: Redis cannot be reached.
        """
        await call(self._redis, "UNLINK", *names)
