"""A real Redis server process for one machine, started and stopped with the service.

It listens on a private unix socket only and keeps its data in the state folder, so accepted jobs survive a restart.
Two locks guard the folder: one is held by the service, so that two services never share it; the other is inherited by
the server, so that a server outliving a killed service is noticed and ended before another one touches the same files.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote

from app.errors import EmbeddedRedisError
from app.jobs.redis_program import find_redis_server, redis_major_version
from app.machine import memory_limit_bytes

SOCKET_PATH_MAX_BYTES = 100  # the kernel's limit is 108 on Linux and 104 on macOS, with the final zero
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
_LOG_TAIL_BYTES = 2000
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SPACE_TO_START_BYTES = 64 * 1024
"""With less on its disk a server cannot begin its log; real work needs far more."""


class EmbeddedRedis:
    """One Redis server that belongs to this process.

    Args:
        state_dir: Folder for its data; made when missing, private to the user.
        binary: The redis-server to run; None looks for one (see `find_redis_server`).
        max_memory_bytes: Bound of its memory, beyond which new jobs are refused; None takes a quarter of what
            the machine or the container has: the worker needs the most, for pixels.
    """

    def __init__(self, state_dir: Path, *, binary: Path | None = None, max_memory_bytes: int | None = None) -> None:
        self._dir = state_dir.expanduser().absolute() / "redis"
        self._binary = binary
        self._max_memory_bytes = max_memory_bytes
        self._service_lock: IO[str] | None = None
        self._socket: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the running server.

        Raises:
            EmbeddedRedisError: It was not started.
        """
        if self._socket is None:
            raise EmbeddedRedisError("The embedded Redis server has no address before start().")
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """Process id of the server, or None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def is_alive(self) -> bool:
        """Tell whether the server process runs."""
        return self.pid is not None

    def start(self, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Start the server and return when it answers; also starts it anew, with the same address, after a crash.

        Args:
            should_stop: Asked again and again while waiting, which may take long with much data on disk.

        Returns:
            False when the wait ended because of `should_stop`; what has begun is then ended by `stop`.

        Raises:
            EmbeddedRedisError: No server program is found, another service uses the folder, or the server stops. A
                server that had run before keeps its address and its folder, for another try.
        """
        if self.is_alive():
            return True
        has_run = self._socket is not None
        give_up = self._stop_process if has_run else self.stop
        try:
            return self._start(self._binary or find_redis_server(), should_stop)
        except OSError as error:
            give_up()
            if error.errno in _FULL:
                raise EmbeddedRedisError(f"{self._full_disk()} ({error.strerror})") from error
            raise EmbeddedRedisError(
                f"Cannot use {self._dir} for the embedded Redis server ({error}); "
                "set VLMIR_STATE_DIR to a folder that you may write to, or VLMIR_REDIS_URL to a running server.",
                is_lasting=True,
            ) from error
        except BaseException:
            give_up()
            raise

    def _start(self, binary: Path, should_stop: Callable[[], bool]) -> bool:
        self._prepare_dir(binary)
        self._take_service_lock()
        server_lock = self._take_server_lock(should_stop)
        if server_lock is None:
            return False
        with server_lock:
            path = self._choose_socket()
            self._process = self._spawn(binary, path, server_lock)
        return self._wait_until_ready(path, should_stop)

    def _spawn(self, binary: Path, path: Path, server_lock: IO[str]) -> subprocess.Popen[bytes]:
        with (self._dir / "redis.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own command line
                self._command(binary, path),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(server_lock.fileno(),),
                # Ctrl-C in a terminal goes to the whole group; the server must outlive the workers' last commits.
                start_new_session=True,
            )

    def stop(self) -> None:
        """Stop the server in order (its data is on disk afterwards) and give the folder free. May be called twice."""
        self._stop_process()
        self._release()

    def _stop_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _release(self) -> None:
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            if self._socket.parent != self._dir:
                shutil.rmtree(self._socket.parent, ignore_errors=True)
            self._socket = None
        if self._service_lock is not None:
            self._service_lock.close()
            self._service_lock = None

    def _prepare_dir(self, binary: Path) -> None:
        self._dir.mkdir(parents=True, exist_ok=True)
        self._dir.chmod(0o700)
        major = redis_major_version(binary)
        if major < 7 and (self._dir / "appendonlydir").exists():
            raise EmbeddedRedisError(
                f"The data in {self._dir} was written by Redis 7 or newer, but {binary} is Redis {major}: it would "
                "start empty. Put the newer redis-server on the PATH again, or set another VLMIR_STATE_DIR.",
                is_lasting=True,
            )

    def _take_service_lock(self) -> None:
        if self._service_lock is not None:
            return
        file = (self._dir / "service.lock").open("a+")
        tries = 0
        while not (is_ours := try_lock(file)) and tries < 5:  # who only asks whether it is free has it for a moment
            tries += 1
            time.sleep(0.02)
        if not is_ours:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise EmbeddedRedisError(
                f"Another vlmir service (process {holder}) uses {self._dir.parent}; stop it, set another "
                "VLMIR_STATE_DIR, or point both at one Redis server with VLMIR_REDIS_URL."
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._service_lock = file

    def _take_server_lock(self, should_stop: Callable[[], bool]) -> IO[str] | None:
        file = (self._dir / "server.lock").open("a+")
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not try_lock(file):
            # We own the folder, so whoever still serves it was left behind by a service that was killed.
            ask_server(find_socket(self._dir), b"SHUTDOWN\r\n")
            if should_stop():
                file.close()
                return None
            if time.monotonic() > deadline:
                file.close()
                raise EmbeddedRedisError(
                    f"A Redis server left behind by an earlier service still uses {self._dir} and does not stop; "
                    "end that process (redis-server), then start again."
                )
            time.sleep(0.05)
        return file

    def _choose_socket(self) -> Path:
        if self._socket is None:
            path = self._dir / "redis.sock"
            if len(os.fsencode(path)) > SOCKET_PATH_MAX_BYTES:
                path = Path(tempfile.mkdtemp(prefix="vlmir-")) / "redis.sock"  # mode 700
            self._socket = path
            (self._dir / "socket").write_text(str(path), encoding="utf-8")
        self._socket.unlink(missing_ok=True)
        return self._socket

    def _command(self, binary: Path, path: Path) -> list[str]:
        memory = self._max_memory_bytes or memory_limit_bytes() // 4
        options = {
            "port": "0",
            "unixsocket": str(path),
            "unixsocketperm": "700",
            "dir": str(self._dir),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "auto-aof-rewrite-min-size": "256mb",  # photos pass through the log; rewriting at 64 MB would never end
            "maxmemory": str(memory),
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _wait_until_ready(self, path: Path, should_stop: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            answer = ask_server(path, b"PING\r\n")
            if answer.startswith(b"+PONG"):
                return True
            if answer.startswith(b"-LOADING"):
                deadline = time.monotonic() + START_TIMEOUT_S  # at work on a large log: as long as it takes
            if not self.is_alive():
                raise EmbeddedRedisError(f"The embedded Redis server stopped while starting{self._reason()}")
            if should_stop():
                return False
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(
                    f"The embedded Redis server gave no answer in {START_TIMEOUT_S:.0f} s{self._reason()}"
                )
            time.sleep(0.01)

    def _reason(self) -> str:
        """Give what the server wrote last; its log is on the same disk, so a full one leaves no word of it there."""
        full = f": {self._full_disk()}." if shutil.disk_usage(self._dir).free < _SPACE_TO_START_BYTES else ""
        data = (self._dir / "redis.log").read_bytes()[-_LOG_TAIL_BYTES:]
        return f"{full or ':'}\n{data.decode(errors='replace')}".rstrip()

    def _full_disk(self) -> str:
        return f"the disk of {self._dir} is full; make room there, or set VLMIR_STATE_DIR to a folder on another disk"


def find_socket(folder: Path) -> Path:
    """Give the socket of the server whose data is in a folder, as the server that ran there last had it."""
    try:
        return Path((folder / "socket").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return folder / "redis.sock"


def find_running(state_dir: Path) -> str | None:
    """Give the address of the server that a running service has in a state folder, or None when there is none."""
    folder = state_dir.expanduser().absolute() / "redis"
    try:
        path = Path((folder / "socket").read_text(encoding="utf-8"))
    except OSError:
        return None
    return f"unix://{quote(str(path))}" if ask_server(path, b"PING\r\n").startswith((b"+PONG", b"-LOADING")) else None


def try_lock(file: IO[str]) -> bool:
    """Take the lock of a file for as long as it is open; gives whether it was free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def ask_server(path: Path, command: bytes) -> bytes:
    """Send one inline command to a unix socket; empty bytes when nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(command)
            return connection.recv(200)
        except OSError:
            return b""
