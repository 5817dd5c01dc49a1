"""A TCP relay that breaks connections off in the middle, as bad networks and restarting proxies do."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from app.bench.relay import PIECE_BYTES, Relay

if TYPE_CHECKING:
    import random


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


class CuttingRelay(Relay):
    """Passes everything on, until it is told to cut.

    Args:
        host: Where to pass things on to.
        port: Likewise.
        numbers: Where chance comes from.

    Attributes:
        cuts: Connections broken off.
        connections: Connections that were made.
    """

    def __init__(self, host: str, port: int, numbers: random.Random) -> None:
        super().__init__(host, port)
        self._numbers = numbers
        self._links: set[_Link] = set()
        self.cuts = 0
        self.connections = 0

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

    async def _relay(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
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
        while data := await far_reader.read(PIECE_BYTES):
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
    while data := await reader.read(PIECE_BYTES):
        writer.write(data)
        await writer.drain()
    writer.close()  # the caller is gone: the service must learn of it
