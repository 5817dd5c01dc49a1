"""Renewing what is held while work lasts."""

from __future__ import annotations

import asyncio

import pytest

from app.errors import QueueUnavailableError
from app.jobs.renewing import renewed

pytestmark = pytest.mark.anyio


async def test_it_renews_until_the_block_ends_also_after_redis_was_away() -> None:
    often = asyncio.Event()
    count = 0

    async def renew() -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise QueueUnavailableError("away")
        if count >= 4:
            often.set()

    async with renewed(renew, 0.001):
        await often.wait()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "vlmir-renewing"]


async def test_an_error_of_the_block_comes_through_and_ends_it() -> None:
    async def renew() -> None:
        raise AssertionError("too early")

    with pytest.raises(ValueError, match="mine"):
        async with renewed(renew, 3600):
            raise ValueError("mine")
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "vlmir-renewing"]
