"""How a process that starts meets Redis: absence is waited out, what will never work ends the process.

"Does not answer" may pass, so API and worker go on without and look again. A server that answers and asks for another
password, or speaks another protocol, will do so for ever: whoever started the process must be told at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from redis.exceptions import AuthenticationError, InvalidResponse, NoPermissionError, RedisError, ResponseError

from app.errors import QueueUnavailableError, UnusableRedisError
from app.redaction import make_redactor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.jobs.queue import JobQueue

logger = logging.getLogger(__name__)

RETRY_S = 1.0
REPEAT_S = 30.0
"""The same reason is told again after this time."""

_redact = make_redactor(())


async def wait_for_queue(queue: JobQueue, url: str, retry_s: float = RETRY_S) -> None:
    """Return when the server works and has all streams; tell then what an operator should change about it.

    Args:
        queue: The queue of this process.
        url: Address of the server, for messages; passwords are left out.
        retry_s: Seconds between looks.

    Raises:
        UnusableRedisError: It answers, but will not work as long as nobody changes something.
    """
    told, told_s = "", 0.0
    while (reason := await _try(queue, url)) is not None:
        if reason != told or time.monotonic() - told_s >= REPEAT_S:
            logger.warning("waiting for Redis at %s: %s", _redact(url), reason)
            told, told_s = reason, time.monotonic()
        await asyncio.sleep(retry_s)
    for warning in queue.server.warnings:
        logger.warning("%s", warning)


async def _try(queue: JobQueue, url: str) -> str | None:
    """Look once; None when the server works, else why it does not work now."""
    try:
        await queue.check()
        await queue.ensure()
    except (QueueUnavailableError, RedisError) as error:
        for cause in _chain(error):
            if (lasting := _explain(cause)) is not None:
                raise UnusableRedisError(
                    f"The Redis server at {_redact(url)} cannot be used: {lasting}. Look at VLMIR_REDIS_URL."
                ) from error
        if not isinstance(error, QueueUnavailableError):
            raise
        told = error.detail.split(";")[0]  # what follows is for callers
        return told if error.__cause__ is None else f"{told}: {_first_line(error.__cause__)}"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and what caused it; redis-py wraps what it meets while it connects."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _explain(error: BaseException) -> str | None:
    """Say why a server will never do, or None for errors that may pass."""
    if isinstance(error, AuthenticationError):
        return _explain_login(_first_line(error))
    if isinstance(error, InvalidResponse):
        return "it does not speak Redis' protocol: another kind of server listens there"
    if isinstance(error, NoPermissionError):
        return f"its user may not do what is needed ({_first_line(error)}); docs/security.md has the rule"
    if isinstance(error, ResponseError) and "DB index" in str(error):
        return f"it has no such database ({_first_line(error)})"
    return None


def _explain_login(text: str) -> str:
    if "without any password" in text or "no password is set" in text:
        return "it has no password, but a password was given"
    if "required" in text.lower():
        return "it asks for a password, and none was given: redis://user:password@host"
    return "it does not take the user and password that were given"


def _first_line(error: BaseException) -> str:
    return _redact((str(error).splitlines() or [""])[0][:200]) or type(error).__name__
