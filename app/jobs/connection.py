"""Connections to Redis, and the one place where its errors become ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.errors import QueueMemoryError, QueueUnavailableError, UnusableRedisError
from app.jobs.address import QueueAddress, parse_address
from app.jobs.locating import (
    ClusterLocator,
    LocatedConnection,
    LocatedSSLConnection,
    Locator,
    NotLocatedError,
    SentinelLocator,
)

BLOCK_MS = 1000
"""Longest blocking read; well under the socket timeout, so that a silent server is told from a quiet one."""
SOCKET_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 32

_NOT_OF_NODES = ("host", "port", "db", "max_connections", "timeout")
"""Parts of an address that are about one server, or about the pool."""

# First word of the answers by which a reachable server says that it cannot work now.
_UNAVAILABLE = (
    "OOM",
    "MISCONF",
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "UNBLOCKED",
)

# For these redis-py has classes, and cuts the telling word off the message.
_CUT_OFF: dict[type[ResponseError], str] = {
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    MasterDownError: "MASTERDOWN",
    ClusterDownError: "CLUSTERDOWN",
    TryAgainError: "TRYAGAIN",
    AskError: "ASK",  # our slot is on its way to another node
    MovedError: "MOVED",  # and has arrived there
}


def connect(url: str, socket_timeout_s: float = SOCKET_TIMEOUT_S) -> Redis:
    """Give a client with a bounded pool.

    It sends a command once more when its connection turns out to be broken, because every pooled connection is after a
    restart of the server. That is safe for all we send: commits answer a repetition as they did the first time, and a
    repeated claim finds what the lost answer held (see `lua/claim.lua`). Silence is never answered with a repetition.

    Args:
        url: Address in one of the forms of `app.jobs.address`.
        socket_timeout_s: Silence in seconds that counts as absence; above the longest blocking read.

    Raises:
        UnusableRedisError: The address has none of the forms.
    """
    address = parse_address(url)
    options: dict[str, Any] = {
        "max_connections": MAX_CONNECTIONS,
        "timeout": socket_timeout_s,
        "socket_timeout": socket_timeout_s,
        "socket_connect_timeout": socket_timeout_s,
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        "retry_on_error": [RedisConnectionError],  # redis-py before 6 asks for both
        "protocol": 2,
    }
    try:
        if address.kind == "server":
            pool = BlockingConnectionPool.from_url(url, **options)
        else:
            pool = BlockingConnectionPool(**options | _located(address))
        pool.connection_class(
            **pool.connection_kwargs
        )  # an option that there is not is refused now, not when it is used
        return Redis.from_pool(pool)
    except (ValueError, TypeError) as error:
        raise UnusableRedisError(
            f"VLMIR_REDIS_URL is not the address of a queue ({type(error).__name__}); look at the port, and at what "
            "follows behind a question mark."
        ) from None  # whose text may show the password


def _located(address: QueueAddress) -> dict[str, Any]:
    """Give what a pool needs for connections that look for the queue whenever they are made."""
    node: dict[str, Any] = dict(parse_url(address.node_url))
    is_tls = node.pop("connection_class", None) is SSLConnection
    of_any = {name: value for name, value in node.items() if name not in _NOT_OF_NODES}
    locator: Locator
    if address.kind == "sentinel":
        user, password = address.sentinel_login
        login = {"username": user or None, "password": password or None}
        locator = SentinelLocator(address.nodes, address.master, of_any | login, is_tls)
    else:
        locator = ClusterLocator(address.nodes, of_any, is_tls)
    return node | {"connection_class": LocatedSSLConnection if is_tls else LocatedConnection, "locator": locator}


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
        absence = _not_located(error) or type(error).__name__
        raise QueueUnavailableError(
            f"The job queue does not answer ({absence}); try again, accepted jobs are kept."
        ) from error
    except ResponseError as error:
        reason = _CUT_OFF.get(type(error)) or unavailable_reason(str(error))
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


def _not_located(error: BaseException | None) -> str | None:
    """Give why nobody knows where the queue is, if that is behind an error."""
    while error is not None:
        if isinstance(error, NotLocatedError):
            return str(error)
        error = error.__cause__
    return None


def unavailable_reason(message: str) -> str | None:
    """Give the word by which a Redis error says "not now", or None for other errors.

    The word comes first, or behind a dash when the error was met inside a script of an older server.
    """
    words = message.replace("@user_script", " ").split()
    for word in words:
        if word.lstrip("-") in _UNAVAILABLE and (word == words[0] or word.startswith("-")):
            return word.lstrip("-")
    return None
