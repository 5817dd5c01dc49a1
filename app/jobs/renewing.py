"""Keeping something that is held for a time, for as long as the work on it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from app.errors import QueueUnavailableError


@asynccontextmanager
async def renewed(renew: Callable[[], Awaitable[None]], every_s: float) -> AsyncIterator[None]:
    """Call `renew` at regular times until the block ends, and not once after it.

    So what is held may have a short time, which frees it soon after its holder died, however long the work may take.
    While Redis is away nothing is renewed; whoever settles the work then learns whether it still had it.
    """
    is_done = asyncio.Event()

    async def keep_on() -> None:
        while not is_done.is_set():
            with anyio.move_on_after(every_s):
                await is_done.wait()
                return
            try:
                await renew()
            except QueueUnavailableError:
                continue

    # Ended by a flag, because a cancellation may be swallowed by a timeout inside before Python 3.12.
    renewing = asyncio.create_task(keep_on(), name="vlmir-renewing")
    try:
        yield
    finally:
        is_done.set()
        await renewing
