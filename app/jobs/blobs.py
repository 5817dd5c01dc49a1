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

    Attributes:
        part_bytes: Bytes that are best read at a time, or None where it does not matter.
        fills_redis: Whether what is stored takes memory of Redis.
    """

    part_bytes: int | None = None
    fills_redis: bool = True

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def put(self, name: str, data: bytes, ttl_s: int, media_type: str | None = None) -> None:
        """Store bytes for `ttl_s` seconds, replacing what has the name.

        Args:
            name: The name.
            data: The bytes.
            ttl_s: How long.
            media_type: What they are, for stores that tell others than this service.

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

    async def delete(self, *names: str) -> bool:
        """Delete what is there of the names; gives whether all is gone now.

        Raises:
            QueueUnavailableError: Redis cannot be reached.
        """
        await call(self._redis, "UNLINK", *names)
        return True

    async def signed(self, name: str, seconds: int) -> str | None:
        """Give a link by which anybody can get the bytes for a time, or None where there is none to give."""
        return None
