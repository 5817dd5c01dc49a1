"""The network between a worker and Redis: a TCP relay that can be cut, carry nothing for a while, or be slow."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

from app.bench.relay import PIECE_BYTES, Relay


class NetworkProxy(Relay):
    """Passes everything on, as well as the network does.

    Args:
        host: Where to pass things on to.
        port: Likewise.

    Attributes:
        delay_s: Time that every piece takes on top, in both directions.
        on_request: Called with every piece on its way to the server, before it is passed on.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._near: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False
        self.delay_s = 0.0
        self.on_request: Callable[[bytes], None] | None = None

    def cut(self) -> int:
        """Break every connection off, and new ones as soon as they come; gives how many there were."""
        self._is_cut = True
        broken = list(self._near)
        for near in broken:
            _reset(near)
        return len(broken)

    def hold(self) -> None:
        """Carry nothing, and refuse nothing; what is sent meanwhile arrives after `heal`, as with a real network."""
        self._flows.clear()

    def heal(self) -> None:
        """Carry everything again, at once."""
        self._is_cut, self.delay_s = False, 0.0
        self._flows.set()

    async def _relay(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        if self._is_cut:
            _reset(near)
            return
        self._near.add(near)
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection(*self._target)
            pumps = [
                asyncio.create_task(self._pump(near_reader, far, is_request=True)),
                asyncio.create_task(self._pump(far_reader, near, is_request=False)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # the server is not there
        finally:
            self._near.discard(near)
            for writer in (near, far):
                if writer is not None:
                    writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_request: bool) -> None:
        with contextlib.suppress(OSError):  # one side is gone, so the other goes too
            while data := await reader.read(PIECE_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._flows.wait()
                if is_request and self.on_request is not None:
                    self.on_request(data)
                writer.write(data)
                await writer.drain()


def _reset(near: asyncio.StreamWriter) -> None:
    """Break a connection off with a reset, where aborting alone would end it properly."""
    near.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near.transport.abort()
