"""What is looked at while a service works: each process by Linux' books, and Redis by what it says of itself."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from app.jobs.job import PRIORITIES
from app.jobs.keys import GROUP, Keys

_PROC = Path("/proc")
_BUFFERS = ("mem_clients_normal", "mem_aof_buffer", "used_memory_scripts")
_UNIX_SOCKETS = Path("/proc/net/unix")


@dataclass(frozen=True)
class ProcessSample:
    """A process at one moment.

    Attributes:
        resident_bytes: Memory that it fills (RSS).
        proportional_bytes: The same with shared pages divided among those who share them (PSS).
        anonymous_bytes: The part that is no file: heap and stacks.
        files: Open files but for unix sockets.
        unix_sockets: Open unix sockets; Redis is reached by them.
        threads: Threads.
        children: Child processes.
    """

    resident_bytes: int
    proportional_bytes: int
    anonymous_bytes: int
    files: int
    unix_sockets: int
    threads: int
    children: int


@dataclass(frozen=True)
class RedisSample:
    """Redis at one moment.

    Attributes:
        used_bytes: Memory that it counts as used.
        buffer_bytes: The part of it for connections, for the log on its way to the disk, and for scripts, each of which
            stays from its first run on.
        keys: Keys, without marks that are made anew as soon as they go.
        clients: Connections, that of the watch included.
        entries: Entries of the streams of jobs.
        pending: Those that a worker holds.
        consumers: Consumers of the group, over all streams.
        notices_bytes: Memory of the stream of ended jobs, which grows up to its cap.
    """

    used_bytes: int
    buffer_bytes: int
    keys: int
    clients: int
    entries: int
    pending: int
    consumers: int
    notices_bytes: int


def sample_process(pid: int) -> ProcessSample:
    """Look at a process.

    Raises:
        OSError: It is gone.
    """
    folder = _PROC / str(pid)
    status = _fields(folder / "status")
    files, sockets = _open_files(folder)
    return ProcessSample(
        resident_bytes=_kib(status, "VmRSS"),
        proportional_bytes=_kib(_fields(folder / "smaps_rollup"), "Pss"),
        anonymous_bytes=_kib(status, "RssAnon"),
        files=files,
        unix_sockets=sockets,
        threads=int(status["Threads"]),
        children=len((folder / "task" / str(pid) / "children").read_text(encoding="ascii").split()),
    )


def sample_redis(client: redis.Redis, keys: Keys) -> RedisSample:
    """Look at a Redis server."""
    memory, clients = client.info("memory"), client.info("clients")
    streams = [keys.stream(priority) for priority in PRIORITIES]
    return RedisSample(
        used_bytes=int(memory["used_memory"]),
        buffer_bytes=sum(int(memory[name]) for name in _BUFFERS),
        keys=int(client.dbsize()) - _marks(client, keys),
        clients=int(clients["connected_clients"]),
        entries=sum(int(client.xlen(stream)) for stream in streams),
        pending=sum(int(client.xpending(stream, GROUP)["pending"]) for stream in streams),
        consumers=sum(len(client.xinfo_consumers(stream, GROUP)) for stream in streams),
        notices_bytes=int(client.memory_usage(keys.notices, samples=0) or 0),
    )


def redis_memory(client: redis.Redis) -> dict[str, int]:
    """Give what Redis says of its memory, in bytes by name."""
    return {name: value for name, value in client.info("memory").items() if isinstance(value, int)}


def expiring_keys(client: redis.Redis, keys: Keys) -> int:
    """Count the keys that go by themselves, without marks that are made anew."""
    found: int = client.info("keyspace").get("db0", {}).get("expires", 0)
    return found - _marks(client, keys)


def lasting_keys(client: redis.Redis) -> dict[str, int]:
    """Give the keys that never go by themselves, with the bytes that each takes."""
    found = {}
    for name in client.scan_iter(count=1000):
        if client.ttl(name) == -1:
            found[name.decode()] = int(client.memory_usage(name, samples=0) or 0)
    return found


def levels(processes: Mapping[str, ProcessSample], server: RedisSample) -> dict[str, int]:
    """Give what must come back to its level, by name."""
    found = {}
    for name, process in processes.items():
        found[f"{name}: memory"] = process.resident_bytes
        found[f"{name}: open files"] = process.files
        found[f"{name}: unix sockets"] = process.unix_sockets
        found[f"{name}: threads"] = process.threads
        found[f"{name}: children"] = process.children
    found["Redis: keys"] = server.keys
    found["Redis: used memory"] = server.used_bytes - server.buffer_bytes - server.notices_bytes
    found["Redis: clients"] = server.clients
    found["Redis: entries of jobs"] = server.entries
    found["Redis: entries held"] = server.pending
    found["Redis: consumers"] = server.consumers
    return found


def _marks(client: redis.Redis, keys: Keys) -> int:
    """Count the marks that are there now; there is one, of somebody having looked for consumers that nobody needs."""
    return int(client.exists(f"{keys.workers}:looked"))


def _fields(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines) if value}


def _kib(fields: Mapping[str, Any], name: str) -> int:
    return int(fields[name].split()[0]) * 1024


def _open_files(folder: Path) -> tuple[int, int]:
    """Number of open files that are no unix sockets, and of those that are."""
    unix = {line.split()[6] for line in _UNIX_SOCKETS.read_text(encoding="ascii", errors="replace").splitlines()[1:]}
    targets = []
    for link in (folder / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(str(link.readlink()))
    sockets = sum(target.startswith("socket:[") and target[8:-1] in unix for target in targets)
    return len(targets) - sockets, sockets
