"""Fixtures of all tests: a real Redis server per test session, a namespace per test."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator

import pytest

from app.machine import share_cores
from tests.support.redis_server import RedisServer

share_cores()  # tests run workers in this process and in others at the same time


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a real Redis server that lives as long as the test session."""
    server = RedisServer()
    server.start()
    yield server.url
    server.close()


@pytest.fixture
def namespace() -> str:
    """Key namespace of one test, so that tests share the server and nothing else."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def free_port() -> int:
    """A TCP port on which nobody listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
