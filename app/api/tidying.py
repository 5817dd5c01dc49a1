"""Freed memory of the API process goes back to the system.

Uploads and decoded photos are megabytes for a moment, in several threads. glibc keeps what is freed behind any small
block that is still in use, so a process that took a few large photos would stay large for ever.
"""

from __future__ import annotations

import asyncio

from anyio import to_thread

from app.allocator import give_freed_memory_back

EVERY_S = 5.0
"""Time between two returns; each takes a millisecond or a few."""


async def give_memory_back_regularly() -> None:
    """Return freed memory every few seconds, for ever."""
    while True:
        await asyncio.sleep(EVERY_S)
        await to_thread.run_sync(give_freed_memory_back)  # in a thread, so that no request waits for it
