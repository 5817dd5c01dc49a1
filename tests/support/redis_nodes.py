"""Real Redis servers on loopback ports that know each other: a master with a replica and a Sentinel, or a cluster."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

from tests.support.redis_server import find_binary

# A cluster's nodes talk to each other on their port and 10000.
_ports = itertools.cycle(range(20_000 + os.getpid() % 9_000, 45_000))


def free_port() -> int:
    for port in _ports:
        try:
            for number in (port, port + 10_000):
                socket.create_server(("127.0.0.1", number)).close()
        except OSError:
            continue
        return port
    raise AssertionError


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except (redis.exceptions.RedisError, ValueError):  # away, or not of one mind yet
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {timeout_s} s: {what}")
        time.sleep(0.02)


class RedisNode:
    """One server on a loopback port; its data is gone when it is closed, not when it is killed.

    Args:
        arguments: For the server.
        login: How a client gets in, as redis-py takes it.
    """

    def __init__(self, *arguments: str, **login: Any) -> None:
        self.port = free_port()
        self._dir = tempfile.TemporaryDirectory(prefix="vlmir-node-")
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=5, protocol=2, **login)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def is_alive(self) -> bool:
        return self._process is not None

    def command(self) -> list[str]:
        plain = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0"]
        return [find_binary(), *plain, "--dir", self._dir.name, *self._arguments]

    def start(self) -> None:
        with (Path(self._dir.name) / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        wait_for(lambda: bool(self.client.ping()), f"{self.address} answers")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        self.client.close()
        self._dir.cleanup()

    def ask(self, *words: str | int) -> Any:
        execute: Any = self.client.execute_command  # untyped in redis-py
        return execute(*words)

    def replicates(self, master: RedisNode) -> bool:
        info = self.client.info("replication")
        return info.get("master_port") == master.port and info["master_link_status"] == "up"


class Sentinel(RedisNode):
    """A Sentinel that watches one master under the name "photos", and is quick to find it dead.

    Args:
        master: What it watches.
        port_setting: Name of the setting for its port.
        lines: More of its configuration, for after the name is known.
        login: How a client gets in.
    """

    def __init__(
        self, master: RedisNode, *, port_setting: str = "port", lines: Sequence[str] = (), **login: Any
    ) -> None:
        super().__init__(**login)
        self._config = Path(self._dir.name) / "sentinel.conf"
        known = [
            f"{port_setting} {self.port}",
            "bind 127.0.0.1",
            f"dir {self._dir.name}",
            f"sentinel monitor photos 127.0.0.1 {master.port} 1",
            "sentinel down-after-milliseconds photos 500",
            "sentinel failover-timeout photos 2000",
            *lines,
        ]
        self._config.write_text("\n".join(known) + "\n", encoding="utf-8")

    def command(self) -> list[str]:
        return [find_binary(), str(self._config), "--sentinel"]

    def master_port(self) -> int:
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "photos")[1])

    def knows_replica(self) -> bool:
        replicas = self.client.sentinel_slaves("photos")
        return any(row["flags"] == "slave" and row["master-link-status"] == "ok" for row in replicas)


class Cluster:
    """Three masters that share the slots, and one replica of the one that has a slot of interest."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        settings = (
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--cluster-replica-validity-factor",
            "0",
        )
        self.nodes = [RedisNode(*settings) for _ in range(4)]

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        *masters, replica = self.nodes
        for number, master in enumerate(masters):
            first, after = 16384 * number // 3, 16384 * (number + 1) // 3
            master.ask("CLUSTER", "ADDSLOTS", *range(first, after))
            master.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", masters[0].port)
        wait_for(lambda: all(self._knows_all(node) for node in self.nodes), "all nodes know each other")
        replica.ask("CLUSTER", "REPLICATE", self.home().ask("CLUSTER", "MYID"))
        wait_for(lambda: replica.replicates(self.home()), "the replica has begun")
        self.settle()

    def settle(self) -> None:
        """Wait until every node agrees on who has the slots, and the one of interest has its replica."""
        wait_for(lambda: all(self._is_ok(node) for node in self.nodes), "the cluster is well")
        wait_for(lambda: len({self._owner(node) for node in self.nodes}) == 1, "all agree on the owner of the slot")

    def _knows_all(self, node: RedisNode) -> bool:
        info = node.client.cluster("info")
        return int(info["cluster_known_nodes"]) == len(self.nodes) and int(info["cluster_slots_assigned"]) == 16384

    def _is_ok(self, node: RedisNode) -> bool:
        return bool(node.client.cluster("info")["cluster_state"] == "ok")

    def _owner(self, node: RedisNode) -> int:
        for first, last, (_, port, *_), *_ in _slots(node):
            if first <= self.slot <= last:
                return int(port)
        return 0

    def home(self) -> RedisNode:
        """The node that has the slot."""
        ports = {self._owner(node) for node in self.nodes if node.is_alive}
        (found,) = [node for node in self.nodes if node.port in ports]
        return found

    def others(self) -> list[RedisNode]:
        """Masters that have other slots."""
        home = self.home()
        return [node for node in self.nodes if node is not home and node.client.info("replication")["role"] == "master"]

    def begin_to_move(self, target: RedisNode) -> None:
        """Move the keys of the slot to another node, and leave the slot between the two."""
        source = self.home()
        target.ask("CLUSTER", "SETSLOT", self.slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", self.slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", self.slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    def end_to_move(self, target: RedisNode) -> None:
        """Say that the slot has arrived."""
        target_id = target.ask("CLUSTER", "MYID")
        for node in (target, *(node for node in self.nodes if node is not target)):
            if node.client.info("replication")["role"] == "master":
                node.ask("CLUSTER", "SETSLOT", self.slot, "NODE", target_id)
        self.settle()

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def _slots(node: RedisNode) -> Any:
    """The answer as it comes, and not as the client reads it."""
    with redis.Redis(port=node.port, socket_timeout=5, protocol=2) as client:
        client.response_callbacks.clear()
        return client.execute_command("CLUSTER SLOTS")
