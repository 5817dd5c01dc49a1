"""What kind of Redis server the queue is on: whether it can be, and what an operator should know about it.

One question, `INFO`, answered by every version and by most managed services. Where it is forbidden, or answers in
another way, nothing is said against the server: the commands themselves will tell.

No command newer than `MINIMUM` is used although some seem to fit. XACKDEL (8.2) takes a single entry out, and holes
between entries make the lag of the group unreadable (`drop_entry` in `lua/prelude.lua`). XNACK (8.8) and XREADGROUP
CLAIM (8.4) give an entry again that was delivered before; the autoscaler sees new entries only, and `lua/claim.lua`
must tell a lease that ran out from an answer that got lost. So there is one way for all versions, and every test is a
test of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from app.errors import UnusableRedisError
from app.jobs.connection import call

if TYPE_CHECKING:
    from redis.asyncio import Redis

Version = tuple[int, int, int]

MINIMUM: Version = (6, 2, 0)
"""Oldest server that knows all commands of the scripts: XPENDING with IDLE, XTRIM with MINID, ZADD with GT."""


@dataclass(frozen=True)
class ServerFacts:
    """What a server tells about itself.

    Attributes:
        version: Version of the commands it knows, or None where it does not tell.
        warnings: What an operator should change, each as a sentence.
    """

    version: Version | None = None
    warnings: tuple[str, ...] = ()


async def check_server(redis: Redis) -> ServerFacts:
    """Ask the server what it is.

    Raises:
        UnusableRedisError: It is too old.
        QueueUnavailableError: It cannot be reached, or cannot work now.
    """
    try:
        answer = await call(redis, "INFO")
    except NoPermissionError:
        return ServerFacts()
    except ResponseError as error:
        if "unknown command" not in str(error):  # renamed by whoever runs it
            raise
        return ServerFacts()
    is_located = "locator" in redis.connection_pool.connection_kwargs
    facts = read_info(answer, is_located) if isinstance(answer, Mapping) else ServerFacts()
    if facts.version is not None and facts.version < MINIMUM:
        raise UnusableRedisError(
            f"The Redis server is version {_dotted(facts.version)}; {_dotted(MINIMUM[:2])} or newer is needed. Put a "
            "newer one at VLMIR_REDIS_URL, or leave that empty for the embedded server of `vlmir serve`."
        )
    return facts


def read_info(info: Mapping[str, Any], is_located: bool = True) -> ServerFacts:
    """Give what the fields of `INFO` say; fields that are not there say nothing.

    Args:
        info: The fields.
        is_located: Whether connections look for the node that the queue is on (`app.jobs.locating`).
    """
    warnings = []
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        warnings.append(
            f"Redis deletes what it likes when its memory is full (maxmemory-policy is {policy}): jobs and photos may "
            "vanish. Set maxmemory-policy to noeviction; new jobs are then refused in time."
        )
    if str(info.get("aof_enabled", "1")) == "0":
        warnings.append(
            "Redis keeps no append-only file (appendonly is no): when it stops, jobs accepted since its last snapshot, "
            "if there are any snapshots, are lost. Set appendonly to yes."
        )
    if str(info.get("cluster_enabled", "0")) == "1" and not is_located:
        warnings.append(
            "Redis is a node of a cluster and is used as a single server: once our slot is on another node, nothing "
            "works. Write VLMIR_REDIS_URL with redis+cluster:// and several nodes."
        )
    return ServerFacts(_version(str(info.get("redis_version", ""))), tuple(warnings))


def _version(text: str) -> Version | None:
    """Read "7.0.15"; None for other forms. Valkey and others tell here which Redis they are compatible with."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3] or 0))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
