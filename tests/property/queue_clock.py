"""A Redis server whose clock a test moves."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from redis.exceptions import ResponseError

from app.jobs.job import PRIORITIES
from app.jobs.keys import GROUP, Keys
from tests.support.redis_server import RedisServer, find_binary

SOURCE = Path(__file__).with_suffix(".c")


class Clock(Protocol):
    """Moves the server's time.

    Attributes:
        goes_back: Whether it can be moved back too.
    """

    goes_back: bool

    def move(self, seconds: int, redis: Any, keys: Keys) -> None:
        """Let time pass on the server, all of a sudden; `redis` is a synchronous client that gives text."""


class OffsetClock:
    """The clock of a server that runs with `queue_clock.c`.

    Args:
        file: Holds the offset.
    """

    goes_back = True

    def __init__(self, file: Path) -> None:
        self._file, self._offset_s = file, 0
        self._file.write_bytes(struct.pack("=q", 0))

    def move(self, seconds: int, redis: Any, keys: Keys) -> None:
        names = redis.keys(f"{keys.prefix}*")
        self._offset_s += seconds
        with self._file.open("r+b") as file:  # in its place: the server has the file mapped
            file.write(struct.pack("=q", self._offset_s))
        if names:
            redis.exists(*names)  # what is past its time goes now, before the clock may be moved back


class ShiftedPast:
    """For machines where that cannot be: makes all that is in Redis older, which looks the same to the scripts."""

    goes_back = False

    def move(self, seconds: int, redis: Any, keys: Keys) -> None:
        for priority in PRIORITIES:
            self._age_leases(redis, keys.stream(priority), 1000 * seconds)
        for name in redis.keys(f"{keys.prefix}*"):
            left_ms = redis.pttl(name)
            if left_ms >= 0:
                redis.pexpire(name, left_ms - 1000 * seconds)  # past its time it is deleted
        for name in redis.keys(keys.job("*")):
            for end in ("expires_ms", "dead_until_ms"):
                if redis.hexists(name, end):
                    redis.hincrby(name, end, -1000 * seconds)
        for member in redis.zrange(keys.unlist, 0, -1):
            redis.zincrby(keys.unlist, -1000 * seconds, member)
        for worker, text in redis.hgetall(keys.workers).items():
            row = json.loads(text)
            redis.hset(keys.workers, worker, json.dumps(row | {"until_ms": row["until_ms"] - 1000 * seconds}))

    def _age_leases(self, redis: Any, stream: str, by_ms: int) -> None:
        try:
            rows = redis.xpending_range(stream, GROUP, "-", "+", 1000)
        except ResponseError:
            return  # no stream, or no group
        for row in rows:
            idle = row["time_since_delivered"] + by_ms
            redis.xclaim(stream, GROUP, row["consumer"], 0, [row["message_id"]], idle=idle, justid=True)


@contextmanager
def open_clocked_server(binary: str | None = None, *, shifts: bool = False) -> Iterator[tuple[RedisServer, Clock]]:
    """Start a server and give it with its clock.

    Args:
        binary: Which redis-server; None for that of the other tests.
        shifts: Whether the past is shifted although the clock could be moved.
    """
    with tempfile.TemporaryDirectory(prefix="vlmir-clock-") as name:
        binary = binary or find_binary()
        starter = None if shifts else _make_starter(Path(name), binary)
        clock: Clock = ShiftedPast() if starter is None else OffsetClock(Path(name, "offset"))
        server = RedisServer("--appendonly", "no", binary=starter or binary)
        server.start()
        try:
            yield server, clock
        finally:
            server.close()


def _make_starter(folder: Path, binary: str) -> str | None:
    """Make a program that starts the server with another clock; None where there is no compiler for it."""
    if shutil.which("gcc") is None:
        return None
    library, starter = folder / "clock.so", folder / "redis-server"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True)
    settings = f"LD_PRELOAD='{library}' QUEUE_CLOCK_OFFSET='{folder / 'offset'}'"
    starter.write_text(f'#!/bin/sh\n{settings} exec "{binary}" "$@"\n')
    starter.chmod(0o700)
    return str(starter)
