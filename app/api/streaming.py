"""Responses that stay open for as long as a job runs: how many, and that nothing of them outlives their caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import Response
from starlette.types import Receive, Scope, Send

from app.errors import TooManyStreamsError

SEND_TIMEOUT_S = 30.0
"""Time for which a caller may not take what is sent before the stream is broken off."""
_CANCEL_AGAIN_S = 0.2


class EventStreams:
    """Counts the open streams of this process; one event loop, no locks.

    Args:
        most: Most streams at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.open = 0
        self._stopping = asyncio.Event()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count a stream until the block ends.

        Raises:
            TooManyStreamsError: There are enough.
        """
        if self.open >= self._most:
            raise TooManyStreamsError(
                f"{self.open} streams of events are open, the limit is {self._most}; ask GET /jobs/{{id}} meanwhile."
            )
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    def stop(self) -> None:
        """End all streams soon; their callers come back to another process, or to this one's successor."""
        self._stopping.set()

    async def until_stop(self) -> None:
        """Return when the process is to stop."""
        await self._stopping.wait()


class EventStreamResponse(Response):
    """A `text/event-stream` that ends when its source does, its caller leaves or stops reading, or the process stops.

    Args:
        chunks: What to send. It is closed in every case, so its own `finally` blocks run.
        streams: The open streams of the process.
    """

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes, None], streams: EventStreams) -> None:
        self._chunks = chunks
        self._streams = streams
        self.status_code = 200
        self.background = None
        self.init_headers(
            {
                "Cache-Control": "no-store, no-transform",
                "X-Accel-Buffering": "no",  # proxies that hold answers back pass this one on as it comes
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            TooManyStreamsError: Nothing has been sent yet.
        """
        with self._streams.place():
            writing = asyncio.create_task(self._write(send))
            others = [asyncio.create_task(_until_gone(receive)), asyncio.create_task(self._streams.until_stop())]
            try:
                await asyncio.wait({writing, *others}, return_when=asyncio.FIRST_COMPLETED)
                is_stopping = others[1].done()
            finally:
                await _end(writing, *others)
                await self._chunks.aclose()
            if not writing.cancelled():
                writing.result()  # the server breaks the connection off on an error, and the caller comes back
            elif is_stopping:
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._chunks:
            message = {"type": "http.response.body", "body": chunk, "more_body": True}
            await asyncio.wait_for(send(message), SEND_TIMEOUT_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and return when they have ended; asks again, as Python before 3.12 may lose a cancellation."""
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen, so that asyncio does not report it as never retrieved
