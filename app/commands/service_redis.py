"""The Redis server of the service, for commands that work on it without an API in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import Settings


@contextmanager
def redis_of(settings: Settings) -> Iterator[str]:
    """Give the address of the service's Redis; an embedded server that does not run is started for as long.

    Raises:
        EmbeddedRedisError: The embedded server cannot be started.
    """
    from app.jobs.embedded import EmbeddedRedis, find_running

    running = settings.redis_url or find_running(settings.state_dir)
    if running is not None:
        yield running
        return
    redis = EmbeddedRedis(settings.state_dir)
    redis.start()
    try:
        yield redis.url
    finally:
        redis.stop()
