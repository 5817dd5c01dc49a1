"""One reader per process that wakes everybody who waits for a job to end.

A blocking read per waiter would hold a connection each. Here a single task reads the notices stream (every job that
became terminal) and resolves the futures of its waiters, so any number of waiters costs one connection, and none when
nobody waits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.errors import QueueUnavailableError
from app.jobs.connection import BLOCK_MS, call

if TYPE_CHECKING:
    from redis.asyncio import Redis


class NoticeReader:
    """Fan-in of terminal notices.

    Args:
        redis: Client that gives bytes.
        stream: Name of the notices stream.
    """

    def __init__(self, redis: Redis, stream: str) -> None:
        self._redis = redis
        self._stream = stream
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def subscribe(self, job_id: str) -> asyncio.Future[None]:
        """Give a future that is done as soon as the job has become terminal after this call returned.

        The caller must look at the job once after subscribing, and must call `unsubscribe`. The future fails with
        `QueueUnavailableError` when the connection breaks.

        Raises:
            QueueUnavailableError: Redis cannot be reached.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(job_id, set()).add(future)
        try:
            async with self._starting:
                if self._task is None:
                    last_id = await self._last_id()
                    self._task = asyncio.create_task(self._read(last_id), name="vlmir-notices")
        except BaseException:
            self.unsubscribe(job_id, future)
            raise
        return future

    def unsubscribe(self, job_id: str, future: asyncio.Future[None]) -> None:
        """Forget a future given by `subscribe`."""
        waiting = self._waiters.get(job_id)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiters[job_id]
        if future.done() and not future.cancelled():
            future.exception()  # seen, so that asyncio does not report it as never retrieved
        else:
            future.cancel()

    async def close(self) -> None:
        """Stop the reader; waiters still there get `QueueUnavailableError`."""
        self._fail_waiters(QueueUnavailableError("The service is stopping; ask again in a moment."))
        self._waiters.clear()  # ends the reader even where Python before 3.12 loses a cancellation
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _last_id(self) -> bytes:
        rows = await call(self._redis, "XREVRANGE", self._stream, "+", "-", "COUNT", 1)
        return bytes(rows[0][0]) if rows else b"0"

    async def _read(self, last_id: bytes) -> None:
        try:
            while self._waiters:
                reply = await call(
                    self._redis, "XREAD", "COUNT", 1000, "BLOCK", BLOCK_MS, "STREAMS", self._stream, last_id
                )
                for _, entries in reply or ():
                    for entry_id, fields in entries:
                        last_id = entry_id
                        self._wake(fields[b"job"].decode())
        except QueueUnavailableError as error:
            self._fail_waiters(error)
        finally:
            # No await between the last look at the waiters and this line: a later subscriber starts a new reader.
            self._task = None

    def _wake(self, job_id: str) -> None:
        for future in self._waiters.get(job_id, ()):
            if not future.done():
                future.set_result(None)

    def _fail_waiters(self, error: QueueUnavailableError) -> None:
        for waiting in self._waiters.values():
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
