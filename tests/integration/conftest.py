"""Fixtures of tests with a worker in this process, or that look at what the queue keeps in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from app.jobs.connection import connect
from app.jobs.keys import Keys
from tests.support.workers import Benches, tiny_runner

if TYPE_CHECKING:
    from app.worker.runner import Runner


@pytest.fixture(scope="module")
def runner() -> Runner:
    """The tiny model, loaded."""
    return tiny_runner()


@pytest.fixture
async def benches(runner: Runner) -> AsyncIterator[Benches]:
    """Workbenches with that model, ended with the test."""
    made = Benches(runner)
    yield made
    await made.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the tests' Redis server."""
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def keys(namespace: str) -> Keys:
    """Names of the keys of one test."""
    return Keys(namespace)
