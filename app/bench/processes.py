"""Processes that a bench starts on loopback and ends: the whole service, or one HTTP server of it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.client.errors import ServiceUnreachableError
from app.settings import ENV_PREFIX

READY_S = 180.0
STOP_S = 60.0
_LOG_TAIL = 2000


@dataclass(frozen=True)
class Started:
    """A process that answers.

    Attributes:
        url: Its address.
        pid: Its number.
    """

    url: str
    pid: int


def own_environment(**settings: str) -> dict[str, str]:
    """Give the environment with these settings (names without prefix) and no others.

    What the caller's shell has set for a service of its own must not change what is measured.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    return kept | {f"{ENV_PREFIX}{name.upper()}": value for name, value in settings.items()}


@contextmanager
def listening(command: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[Started]:
    """Run an HTTP server for as long as the block lasts.

    Args:
        command: Program and arguments; the number of its listening socket is added. It is to stop when its standard
            input closes.
        environment: Its environment.
        log: File that its output goes to, as that of a service does.

    Raises:
        ServiceUnreachableError: It ended instead of answering; the end of its output is in the text.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener, log.open("ab") as lines:
        fd, port = listener.fileno(), listener.getsockname()[1]
        process = subprocess.Popen(  # noqa: S603  our own command line
            [*command, str(fd)], env=environment, stdin=subprocess.PIPE, stdout=lines, stderr=lines, pass_fds=(fd,)
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _await_answer(process, url, log)
            yield Started(url, process.pid)
        finally:
            _stop(process)


@contextmanager
def running_service(state_dir: Path, model: str, device: str, **settings: str) -> Iterator[Started]:
    """Run `vlmir serve` on a free port: API, one worker, embedded Redis.

    Args:
        state_dir: Folder of its Redis.
        model: Name of a model, or a folder with one.
        device: Where the worker computes.
        settings: Further settings, by their names without prefix.

    Raises:
        ServiceUnreachableError: It did not start; its messages are on standard error.
    """
    from app.commands.supervisor import READY_LINE

    command = [sys.executable, "-m", "app.cli", "serve", "--host", "127.0.0.1", "--port", "0"]
    command += ["--model", model, "--device", device, "--workers", "1", "--state-dir", str(state_dir)]
    environment = own_environment(log_level="error", **settings)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603  our own
    # One that hangs while starting is stopped, which ends the reading below.
    watchdog = threading.Timer(READY_S, process.terminate)
    watchdog.start()
    try:
        ready = next((line for line in process.stdout or () if line.startswith(READY_LINE)), None)
        watchdog.cancel()
        if ready is None:
            raise ServiceUnreachableError("The service did not start; its messages are above.")
        yield Started(ready.removeprefix(READY_LINE).strip(), process.pid)
    finally:
        watchdog.cancel()
        _stop(process)


def _await_answer(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return when a server answers anything at all."""
    give_up_s = time.monotonic() + READY_S
    while time.monotonic() < give_up_s and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):  # the socket is ours, so it takes connections at once
            httpx.get(f"{url}/healthz", timeout=1.0)
            return
    tail = log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
    raise ServiceUnreachableError(f"A server for the measurement did not start:\n{tail}")


def _stop(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
