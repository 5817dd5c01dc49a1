"""The processes of the service under test: each is killed, stopped and started again, and leaves one log per life."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from app.bench.processes import own_environment

STOP_S = 40.0


class Role:
    """One process and those that come after it.

    Args:
        name: What to call it, also in names of files.
        command: Program and arguments.
        environment: Its environment.
        folder: For its logs.
        pass_fds: Open files that it gets.

    Attributes:
        lives: How often it was started.
        deaths: Of those, the ends that nobody here brought about: code and end of the log.
    """

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], folder: Path, pass_fds: Iterable[int] = ()
    ) -> None:
        self.name, self.folder = name, folder
        self.lives = 0
        self.deaths: list[str] = []
        self._command, self._environment, self._pass_fds = command, environment, tuple(pass_fds)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run; call start() first")
        return self._process.pid

    @property
    def log(self) -> Path:
        """Log of the present life."""
        return self.folder / f"{self.name}-{self.lives}.log"

    @property
    def logs(self) -> list[Path]:
        return [self.folder / f"{self.name}-{life}.log" for life in range(1, self.lives + 1)]

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self.lives += 1
        self._process = self._spawn(self.lives)

    def _spawn(self, life: int) -> subprocess.Popen[bytes]:
        with (self.folder / f"{self.name}-{life}.log").open("wb") as log:
            return subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,  # its end tells them that this process is gone, however it ended
                stdout=log,
                stderr=log,
                pass_fds=self._pass_fds,
            )

    def kill(self) -> None:
        """End it as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            _reap(process)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        self._is_stopped = True

    def thaw(self) -> None:
        self._is_stopped = False
        if self.is_alive:
            os.kill(self.pid, signal.SIGCONT)

    def revive(self) -> None:
        """Start it again if it has ended by itself, and remember that it has."""
        process = self._process
        if process is not None and process.poll() is not None:
            tail = self.log.read_bytes()[-1500:].decode(errors="replace")
            self.deaths.append(f"{self.name} ended by itself with code {process.returncode}:\n{tail}")
            _reap(process)
            self.start()

    def close(self) -> None:
        """End it, and whatever else belongs to it."""
        self.kill()

    def prepare(self) -> None:
        """Get ready for being started again."""

    def stop(self) -> int:
        """End it in peace; gives its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if self._is_stopped:
            process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
        _reap(process)
        return int(process.returncode)


class WorkerRole(Role):
    """A worker with the tiny model and one thread, and its successor, which has imported everything and waits.

    Args:
        number: Which one. The first comes back under its old name, the others under new ones.
        folder: For its logs.
        settings: Of workers, by names without prefix.
    """

    def __init__(self, number: int, folder: Path, settings: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.chaos.worker", *(["chaos-worker-0"] if number == 0 else [])]
        super().__init__(f"worker-{number}", command, _environment(settings), folder)
        self.number = number
        self._successor: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Let the successor begin, so that starting again takes no longer than loading the model."""
        process, self._successor = self._successor, None
        if process is None or process.poll() is not None:
            process = self._spawn(self.lives + 1)
        self.lives += 1
        self._process = process
        if process.stdin is not None:
            process.stdin.write(b"\n")
            process.stdin.flush()

    def prepare(self) -> None:
        """Have a successor ready, once there is time for that."""
        if self._successor is None and self.is_ready:
            self._successor = self._spawn(self.lives + 1)

    def close(self) -> None:
        """End it and its successor."""
        self.kill()
        process, self._successor = self._successor, None
        if process is not None:
            process.kill()
            _reap(process)

    @property
    def is_ready(self) -> bool:
        return self.is_alive and b" is ready with model" in self.log.read_bytes()

    def is_consumer(self, name: str) -> bool:
        """Whether a name in Redis is that of the present life."""
        return name == "chaos-worker-0" if self.number == 0 else name.startswith(f"{socket.gethostname()}-{self.pid}-")


class ApiRole(Role):
    """The API on a socket that outlives it, so that no connection is refused while it starts."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        fd = self._listener.fileno()
        command = [sys.executable, "-m", "app.cli", "api", "--fd", str(fd), "--stop-on-eof"]
        super().__init__("api", command, _environment(settings), folder, (fd,))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """End it and give its address up."""
        self.kill()
        self._listener.close()


def find_line(logs: Iterable[Path], holds: Callable[[str], bool]) -> bool:
    """Whether any line of these logs is such."""
    return any(holds(line) for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines())


def _environment(settings: dict[str, str]) -> dict[str, str]:
    return own_environment(model="tiny", device="cpu", threads="1", log_json="true", **settings)


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
