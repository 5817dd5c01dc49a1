"""Connections to Redis, and the one place where its errors become ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.errors import QueueMemoryError, QueueUnavailableError

BLOCK_MS = 1000
"""Longest blocking read; well under the socket timeout, so that a silent server is told from a quiet one."""
SOCKET_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 32

# First word of the answers by which a reachable server says that it cannot work now.
_UNAVAILABLE = ("OOM", "MISCONF", "LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "BUSY")


def connect(url: str, socket_timeout_s: float = SOCKET_TIMEOUT_S) -> Redis:
    """Give a client with a bounded pool.

    It sends a command once more when its connection turns out to be broken, because every pooled connection is after a
    restart of the server. That is safe for all we send: commits answer a repetition as they did the first time, and a
    repeated claim finds what the lost answer held (see `lua/claim.lua`). Silence is never answered with a repetition.

    Args:
        url: redis://, rediss:// or unix:// address.
        socket_timeout_s: Silence in seconds that counts as absence; above the longest blocking read.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=socket_timeout_s,
        socket_timeout=socket_timeout_s,
        socket_connect_timeout=socket_timeout_s,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        retry_on_error=[RedisConnectionError],  # redis-py before 6 asks for both
        protocol=2,
    )
    return Redis.from_pool(pool)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what says "Redis cannot work now" into `QueueUnavailableError`; other errors pass.

    Raises:
        QueueMemoryError: Redis is at its memory limit.
        QueueUnavailableError: No connection, no answer in time, loading, read-only.
    """
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise QueueUnavailableError(
            f"The job queue does not answer ({type(error).__name__}); try again, accepted jobs are kept."
        ) from error
    except ResponseError as error:
        # For these two redis-py has classes, and cuts the telling word off the message.
        known = {OutOfMemoryError: "OOM", ReadOnlyError: "READONLY"}
        reason = known.get(type(error)) or unavailable_reason(str(error))
        if reason is None:
            raise
        kind = QueueMemoryError if reason == "OOM" else QueueUnavailableError
        raise kind(
            f"The job queue cannot work now (Redis says {reason}); try again, accepted jobs are kept."
        ) from error


async def call(redis: Redis, *words: str | bytes | int) -> Any:
    """Run one command and give its answer.

    Raises:
        QueueUnavailableError: Redis cannot work now.
    """
    command: Callable[..., Awaitable[Any]] = redis.execute_command  # untyped in redis-py
    with translated_errors():
        return await command(*words)


def unavailable_reason(message: str) -> str | None:
    """Give the word by which a Redis error says "not now", or None for other errors.

    The word comes first, or behind a dash when the error was met inside a script of an older server.
    """
    words = message.replace("@user_script", " ").split()
    for word in words:
        if word.lstrip("-") in _UNAVAILABLE and (word == words[0] or word.startswith("-")):
            return word.lstrip("-")
    return None
