"""Finding the one node that the queue lives on, whenever a connection is made: by Sentinels, or in a cluster.

All keys of a service have one hash tag, so even in a cluster they are on one node, and every connection goes there:
scripts, blocking reads, the clock and Pub/Sub are then those of one server, as everywhere else in this package. The
cluster client of redis-py would ask other nodes for the time, answer silence with repetitions, and refuse instead of
wait when all its connections are in use.

A connection that finds out that it is in the wrong place (MOVED, READONLY) closes, and looks again when it is next
used. Both words mean that nothing was done, so the command may be sent again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    InvalidResponse,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from app.jobs.address import Node
from app.jobs.keys import Keys

ASK_TIMEOUT_S = 2.0
"""Longest silence of a node that is asked where the queue is; then the next one is asked."""

HOME_SLOT = key_slot(Keys().prefix.encode())
"""Slot of all our keys in a cluster."""


class NotLocatedError(RedisConnectionError):
    """Nobody who was asked knows where the queue is; the message says who and why, and has no secrets."""


class Locator(ABC):
    """Knows whom to ask where the queue is.

    Args:
        nodes: Whom to ask, at least one; whoever answered last is asked first.
        options: Of connections to them, as redis-py takes them.
        is_tls: Whether they speak TLS.
    """

    def __init__(self, nodes: Sequence[Node], options: Mapping[str, Any], is_tls: bool) -> None:
        self._nodes = list(nodes)
        self._options, self._kind = options, SSLConnection if is_tls else Connection

    async def locate(self) -> Node:
        """Give the node that the queue is on now.

        Raises:
            NotLocatedError: Nobody knows.
        """
        reasons: list[str] = []
        lasting: list[RedisError] = []
        for node in tuple(self._nodes):
            try:
                found = await self._ask(node)
            except (RedisError, OSError) as error:
                reasons.append(f"{_name(node)}: {type(error).__name__}")
                if isinstance(error, AuthenticationError | InvalidResponse):
                    lasting.append(error)
                continue
            if isinstance(found, str):
                reasons.append(f"{_name(node)}: {found}")
                continue
            self.prefer(node)
            return found
        # Where everybody says so, whoever starts need not wait for another answer; it looks at the cause.
        cause = lasting[-1] if len(lasting) == len(reasons) else None
        raise NotLocatedError(f"nobody knows where the queue is ({'; '.join(reasons)})") from cause

    def prefer(self, node: Node) -> None:
        """Ask this node first from now on."""
        self._nodes = [node, *(other for other in self._nodes if other != node)]

    async def _ask(self, node: Node) -> Node | str:
        host, port = node
        ours = {"socket_timeout": ASK_TIMEOUT_S, "socket_connect_timeout": ASK_TIMEOUT_S, "protocol": 2}
        connection: Any = self._kind(host=host, port=port, **{**self._options, **ours})  # untyped in redis-py
        try:
            await connection.connect()
            await connection.send_command(*self.question)
            return self.read(node, await connection.read_response())
        finally:
            await connection.disconnect(nowait=True)

    @property
    @abstractmethod
    def question(self) -> tuple[str, ...]:
        """Command that asks."""

    @abstractmethod
    def read(self, asked: Node, answer: Any) -> Node | str:
        """Read the answer: a node, or why there is none."""


class SentinelLocator(Locator):
    """Asks Sentinels for a master.

    Args:
        nodes: The Sentinels.
        master: Name of the master.
        options: Of connections to Sentinels.
        is_tls: Whether they speak TLS.
    """

    def __init__(self, nodes: Sequence[Node], master: str, options: Mapping[str, Any], is_tls: bool) -> None:
        super().__init__(nodes, options, is_tls)
        self._master = master

    @property
    def question(self) -> tuple[str, ...]:
        """Command that asks."""
        return "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master

    def read(self, asked: Node, answer: Any) -> Node | str:
        """Read the answer: a node, or why there is none."""
        if answer is None:
            return f"knows no master {self._master!r}"
        host, port = answer
        return host.decode(), int(port)


class ClusterLocator(Locator):
    """Asks nodes of a cluster for the one that has our slot; remembers all nodes, so that any of them may go."""

    def __init__(self, nodes: Sequence[Node], options: Mapping[str, Any], is_tls: bool) -> None:
        super().__init__(nodes, options, is_tls)
        self._seeds = tuple(nodes)

    @property
    def question(self) -> tuple[str, ...]:
        """Command that asks."""
        return "CLUSTER", "SLOTS"  # CLUSTER SHARDS is newer than our oldest server

    def read(self, asked: Node, answer: Any) -> Node | str:
        """Read the answer: a node, or why there is none."""
        # A node that does not know its own name leaves the host out: it is the one that was asked.
        ranges = [
            (first, last, [((host or b"").decode() or asked[0], int(port)) for host, port, *_ in nodes])
            for first, last, *nodes in answer
        ]
        known = [node for *_, nodes in ranges for node in nodes]
        self._nodes = list(dict.fromkeys([asked, *known, *self._seeds]))
        for first, last, nodes in ranges:
            if first <= HOME_SLOT <= last:
                return nodes[0]
        return f"no node has slot {HOME_SLOT}"


class LocatedConnection(Connection):
    """A connection to wherever the queue is at the moment at which it connects.

    Args:
        locator: Knows where.
        options: As redis-py takes them.
    """

    def __init__(self, *, locator: Locator, **options: Any) -> None:
        super().__init__(redis_connect_func=_greet, **options)
        self._locator = locator

    async def _connect(self) -> None:
        self.host, self.port = await self._locator.locate()
        connect: Callable[[], Awaitable[None]] = super()._connect  # untyped in redis-py
        await connect()

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read an answer; one that says "not here" breaks the connection, so that the next one is made elsewhere.

        Raises:
            RedisConnectionError: The queue is somewhere else now; nothing was done.
        """
        try:
            return await super().read_response(*args, **options)
        except ResponseError as error:
            if not _is_elsewhere(error):
                raise
            if isinstance(error, MovedError):
                self._locator.prefer((error.host or self.host, int(error.port)))
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"the queue has left {_name((self.host, self.port))}") from error


class LocatedSSLConnection(LocatedConnection, SSLConnection):
    """The same with TLS."""


async def _greet(connection: Connection) -> None:
    """Log in, then make sure that it is a master: who was asked may be behind the times.

    Raises:
        RedisConnectionError: It is a replica.
    """
    await connection.on_connect()
    await connection.send_command("ROLE")
    try:
        role = (await connection.read_response())[0]
    except ResponseError:  # forbidden: then the first write will tell
        return
    if role != b"master":
        raise RedisConnectionError(f"{_name((connection.host, connection.port))} is a replica, a new master is awaited")


def _is_elsewhere(error: ResponseError) -> bool:
    if isinstance(error, AskError):  # ASK alone: the slot is on its way, which is no reason to go anywhere yet
        return isinstance(error, MovedError)
    # Servers before 7 put the word behind others when it was met inside a script.
    return isinstance(error, ReadOnlyError) or "-READONLY" in str(error)


def _name(node: Node) -> str:
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
