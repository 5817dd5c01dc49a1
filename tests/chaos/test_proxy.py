"""The network of a worker: it passes on, breaks off, carries nothing for a while and is slow, as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import NetworkProxy

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def echoing() -> AsyncIterator[NetworkProxy]:
    """A proxy in front of a server that says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, NetworkProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def connected(proxy: NetworkProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def said_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> bytes:
    writer.write(data)
    return await asyncio.wait_for(reader.readexactly(len(data)), 10)


async def test_everything_passes_both_ways() -> None:
    async with echoing() as proxy, connected(proxy) as (reader, writer):
        data = bytes(range(256)) * 2000
        assert await said_back(reader, writer, data) == data


async def test_a_cut_breaks_connections_off_and_new_ones_too_until_it_is_healed() -> None:
    async with echoing() as proxy:
        async with connected(proxy) as (reader, writer):
            await said_back(reader, writer, b"a")
            assert proxy.cut() == 1
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(1), 10)
        async with connected(proxy) as (reader, writer):
            with contextlib.suppress(ConnectionResetError):  # reset, or closed before it was seen to be open
                assert await asyncio.wait_for(reader.read(1), 10) == b""
        proxy.heal()
        async with connected(proxy) as (reader, writer):
            assert await said_back(reader, writer, b"b") == b"b"


async def test_a_hole_takes_everything_and_gives_it_later() -> None:
    async with echoing() as proxy, connected(proxy) as (reader, writer):
        await said_back(reader, writer, b"a")
        proxy.hold()
        writer.write(b"late")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        async with connected(proxy) as (other, _):  # new connections are taken as well
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(other.read(1), 0.1)
        proxy.heal()
        assert await asyncio.wait_for(reader.readexactly(4), 10) == b"late"


async def test_a_slow_network_takes_its_time_both_ways() -> None:
    async with echoing() as proxy, connected(proxy) as (reader, writer):
        proxy.delay_s = 0.1
        started_s = time.monotonic()
        assert await said_back(reader, writer, b"a") == b"a"
        assert time.monotonic() - started_s >= 0.2


async def test_requests_are_seen_before_they_pass() -> None:
    seen: list[bytes] = []
    async with echoing() as proxy, connected(proxy) as (reader, writer):
        proxy.on_request = seen.append
        await said_back(reader, writer, b"SET")
        assert seen == [b"SET"]


async def test_an_absent_server_ends_the_connection() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with NetworkProxy("127.0.0.1", port) as proxy, connected(proxy) as (reader, _):
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(1), 10) == b""
