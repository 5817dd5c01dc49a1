"""A TCP relay that breaks connections off in the middle, as bad networks and restarting proxies do."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from types import TracebackType

_PIECE_BYTES = 65536


class _Link:
    """One relayed connection.

    Attributes:
        allowance: Bytes of the answer that still pass; None lets all pass.
        answered: Bytes of the answer that have passed.
    """

    def __init__(self, near: asyncio.StreamWriter) -> None:
        self.near = near
        self.allowance: int | None = None
        self.answered = 0


class CuttingRelay:
    """Listens on a port of this machine and passes everything on, until it is told to cut. An async context manager.

    Args:
        host: Where to pass things on to.
        port: Likewise.
        numbers: Where chance comes from.

    Attributes:
        port: Where it listens.
        cuts: Connections broken off.
        connections: Connections that were made.
    """

    def __init__(self, host: str, port: int, numbers: random.Random) -> None:
        self._target = host, port
        self._numbers = numbers
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cuts = 0
        self.connections = 0

    async def __aenter__(self) -> CuttingRelay:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Break everything off."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> bool:
        """Choose a connection whose answer has begun, and break it off: at once, or some bytes later.

        Returns:
            False when there is none.
        """
        open_links = sorted((link for link in self._links if link.answered and link.allowance is None), key=id)
        if not open_links:
            return False
        link = self._numbers.choice(open_links)
        link.allowance = self._numbers.choice((0, self._numbers.randrange(1, 400)))
        if link.allowance == 0:
            self._break_off(link)
        return True

    def _break_off(self, link: _Link) -> None:
        if link in self._links:
            self._links.discard(link)
            self.cuts += 1
            link.near.transport.abort()  # a reset, and not a proper end

    async def _accept(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        link = _Link(near)
        far: asyncio.StreamWriter | None = None
        self.connections += 1
        try:
            far_reader, far = await asyncio.open_connection(*self._target)
            self._links.add(link)
            asking = asyncio.create_task(_pump(near_reader, far))
            try:
                await self._answer(far_reader, link)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        except OSError:
            pass  # one side is gone, so the other goes too
        finally:
            self._links.discard(link)
            for writer in (near, far):
                if writer is not None:
                    writer.close()

    async def _answer(self, far_reader: asyncio.StreamReader, link: _Link) -> None:
        while data := await far_reader.read(_PIECE_BYTES):
            if link.allowance is not None:
                data, is_last = data[: link.allowance], len(data) >= link.allowance
                link.allowance -= len(data)
                link.near.write(data)
                if is_last:
                    with contextlib.suppress(OSError):
                        await link.near.drain()
                    await asyncio.sleep(0)
                    self._break_off(link)
                    return
                continue
            link.near.write(data)
            link.answered += len(data)
            await link.near.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE_BYTES):
        writer.write(data)
        await writer.drain()
    writer.close()  # the caller is gone: the service must learn of it
