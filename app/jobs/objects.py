"""Photos of the queue in an object store, with Redis to remember that they must be deleted.

Redis deletes what is past its time by itself; of an object store somebody has to ask that. So every photo is noted in
Redis before it is written, with the time from which it may be deleted, and scripts that change what a job needs change
that time in the same step (`OBJECTS` in `lua/prelude.lua`). `app.jobs.retention` deletes what is due. Whatever process
dies in between, the note is still there.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from app.errors import QueueMemoryError
from app.jobs.blobs import BlobStore
from app.jobs.connection import call
from app.storage.errors import StorageUnavailableError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from app.jobs.keys import Keys
    from app.jobs.scripts import Scripts
    from app.storage.objects import ObjectStore

SWEEP_LIMIT = 100
"""Most photos that one sweep deletes."""

_SWEEP_LEASE_MS = 120_000  # above the longest time that one sweep takes; then another process takes the same photos
_MEMBER = re.compile(r"(image|mask|result):([0-9a-f]{32})(?::([0-9]{1,9}))?")


def object_key(member: str) -> str:
    """Give the key of a photo in the object store: made of its kind, the job's id and the attempt, of nothing else.

    Args:
        member: Name without the namespace, "image:ID", "mask:ID" or "result:ID:FENCE".

    Raises:
        ValueError: It has another form.
    """
    match = _MEMBER.fullmatch(member)
    if match is None or (match[1] == "result") != (match[3] is not None):
        raise ValueError(f"{member[:64]!r} is no name of a photo")
    return f"{match[1]}/{match[2]}" if match[3] is None else f"{match[1]}/{match[2]}-{match[3]}"


class ObjectBlobStore(BlobStore):
    """Bytes under a name in an object store.

    What was stored in Redis (before there was an object store, or when only there was room) is read there.

    Args:
        redis: Client that gives bytes.
        keys: Names of the keys.
        scripts: The scripts of the queue.
        objects: Where the bytes are.
    """

    part_bytes: int | None = 1024 * 1024  # each part is a request of its own
    fills_redis: bool = False

    def __init__(self, redis: Redis, keys: Keys, scripts: Scripts, objects: ObjectStore) -> None:
        super().__init__(redis)
        self._keys, self._scripts, self._objects = keys, scripts, objects

    async def put(self, name: str, data: bytes, ttl_s: int, media_type: str | None = None) -> None:
        """Store bytes for `ttl_s` seconds, or for as long as a job needs them, replacing what has the name.

        Raises:
            QueueUnavailableError: Redis or the store cannot be reached.
        """
        member = self._member(name)
        key = object_key(member)
        await self._scripts.run("objects_hold", ttl_s * 1000, member)
        await self._objects.put(key, data, media_type)

    async def get(self, name: str) -> bytes | None:
        """Give the bytes, or None when there are none; raises `QueueUnavailableError`."""
        data = await self._objects.get(object_key(self._member(name)))
        return await super().get(name) if data is None else data

    async def size(self, name: str) -> int | None:
        """Give the number of bytes, or None when there are none; raises `QueueUnavailableError`."""
        size = await self._objects.size(object_key(self._member(name)))
        return await super().size(name) if size is None else size

    async def part(self, name: str, start: int, stop: int) -> bytes:
        """Give the bytes from `start` up to, not including, `stop`; raises `QueueUnavailableError`."""
        data = await self._objects.part(object_key(self._member(name)), start, stop)
        return data or await super().part(name, start, stop)

    async def delete(self, *names: str) -> bool:
        """Delete what is there of the names: now if the store can be reached, else by the next sweep.

        Returns:
            Whether all is gone now.

        Raises:
            QueueUnavailableError: Redis cannot be reached; what is stored is deleted after its time.
        """
        members = [self._member(name) for name in names]
        with contextlib.suppress(QueueMemoryError):  # then they are deleted here and now, or after their time
            # First of all, so that nothing is forgotten when this process ends in the middle.
            await call(self._redis, "ZADD", self._keys.objects, "XX", *_paired(members))
        await super().delete(*names)
        return await self._drop(members)

    async def signed(self, name: str, seconds: int) -> str | None:
        """Give a link by which anybody can get the bytes for a time, or None where there is none to give."""
        key = object_key(self._member(name))
        # A link to what is in Redis would lead nowhere.
        return None if await self._objects.size(key) is None else await self._objects.sign(key, seconds)

    async def sweep(self) -> int:
        """Delete what is past its time, some of it; gives how many photos there were.

        Raises:
            QueueUnavailableError: Redis or the store cannot be reached; the rest is deleted later.
        """
        found = await self._scripts.run("objects_take", SWEEP_LIMIT, _SWEEP_LEASE_MS)
        members = [member.decode() for member in found]
        if members and not await self._drop(members):
            raise StorageUnavailableError(f"{len(members)} photos that are past their time could not be deleted yet.")
        return len(members)

    async def _drop(self, members: list[str]) -> bool:
        """Delete objects, and only then the notes that they are there."""
        try:
            await self._objects.delete([object_key(member) for member in members])
        except StorageUnavailableError:
            return False
        await call(self._redis, "ZREM", self._keys.objects, *members)
        return True

    def _member(self, name: str) -> str:
        return name.removeprefix(self._keys.prefix)


def _paired(members: list[str]) -> list[str | int]:
    return [word for member in members for word in (0, member)]
