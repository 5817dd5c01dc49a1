"""Keeps API, worker and embedded Redis running as children of one small process, and stops them in order.

Imports neither torch nor a web framework: it must survive whatever happens to its children.
"""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from app.commands.listening import fill_standard_streams, listen
from app.errors import EmbeddedRedisError
from app.exit_codes import EXIT_FAILED, EXIT_UNUSABLE
from app.jobs.embedded import EmbeddedRedis
from app.settings import ENV_PREFIX

if TYPE_CHECKING:
    from app.settings import Settings

READY_LINE = "VLMIR is ready at "
"""Start of the line on standard output that tells programs the address."""

TICK_S = 0.1
FIRST_RESTART_S = 0.5
LAST_RESTART_S = 30.0
STEADY_S = 30.0
"""A child that lived this long did not fail at starting; its next restart is quick again."""

TRIES_BEFORE_READY = 3
"""Failures of one child after which a service that was never ready gives up."""

STOP_MARGIN_S = 10.0


@dataclass
class Child:
    """One supervised process.

    Attributes:
        name: What to call it.
        command: Program and arguments.
        stop_s: Time it gets to stop before it is killed.
        failures: Ends in a row without a steady life.
        start_at_s: When to start it, on the monotonic clock.
        environment: Variables of its own, beside those of all children.
    """

    name: str
    command: list[str]
    stop_s: float
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started_s: float = 0.0
    start_at_s: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, environment: dict[str, str]) -> None:
        """Start the process; it ends by itself when this process is gone, because its standard input then closes."""
        self.started_s = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603  our own command line
            self.command,
            env=environment | self.environment,
            stdin=subprocess.PIPE,
            pass_fds=self.pass_fds,
            # Ctrl-C in a terminal reaches the whole group, but the order of stopping is ours.
            start_new_session=True,
        )

    def ask_to_stop(self) -> None:
        """Send SIGTERM if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def await_end(self, tick: threading.Event) -> bool:
        """Wait for it after `ask_to_stop`; ask again when `tick` is set meanwhile, kill it when its time is up.

        Returns:
            Whether `tick` was set.
        """
        is_hurried = False
        if self.process is None:
            return is_hurried
        deadline_s = time.monotonic() + self.stop_s
        while self.process.poll() is None:
            if tick.wait(TICK_S):
                tick.clear()
                is_hurried = True
                self.ask_to_stop()  # a worker takes the second request as: without the grace
            if time.monotonic() > deadline_s:
                self.process.kill()
                self.process.wait()
        # By the signal itself it ends as long as it is too young to handle it.
        if self.process.returncode not in (0, -signal.SIGTERM):
            typer.echo(f"the {self.name} did not stop cleanly: it ended with code {self.process.returncode}", err=True)
        self.forget()
        return is_hurried

    def forget(self) -> None:
        """Let go of a process that has ended."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None


class Supervisor:
    """Runs the whole service on this machine until SIGINT, SIGTERM or SIGHUP.

    Args:
        settings: Settings of the service.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._signalled = threading.Event()
        self._redis = EmbeddedRedis(settings.state_dir) if settings.redis_url is None else None
        self._is_ready = False

    def run(self) -> int:
        """Start everything, watch it, stop it; gives the exit code.

        Raises:
            EmbeddedRedisError: The embedded server cannot be started.
            ListenError: The address is taken, or none of this machine.
        """
        fill_standard_streams()
        listener = listen(self._settings.host, self._settings.port)
        handlers = {
            number: signal.signal(number, lambda *_: self._signalled.set())
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        host, port = listener.getsockname()[:2]
        shown = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        typer.echo(f"VLMIR starts at {shown} (Ctrl-C stops it)")
        children = self.make_children(listener)
        try:
            code = 0
            if self._redis is None or self._redis.start(self._signalled.is_set):
                environment = self._environment()
                for child in children:
                    child.start(environment)
                code = self._watch(children, environment, (host, port), shown)
        finally:
            self._signalled.clear()
            listener.close()  # else clients would wait in the line of a socket that nobody serves
            self._stop(children)
            if self._redis is not None:
                self._redis.stop()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        typer.echo("VLMIR has stopped")
        return code

    def _stop(self, children: list[Child]) -> None:
        """Stop the API, then all workers at once, so that their graces run together."""
        for group in (children[:1], children[1:]):
            for child in group:
                child.ask_to_stop()
            for number, child in enumerate(group, start=1):
                if child.await_end(self._signalled):
                    for other in group[number:]:
                        other.ask_to_stop()

    def make_children(self, listener: socket.socket) -> list[Child]:
        """Give the processes to run, in the order of stopping."""
        # The socket is ours and handed down, so that no connection is refused while the API restarts.
        fd = listener.fileno()
        vlmir = [sys.executable, "-m", "app.cli"]
        return [
            Child("API", [*vlmir, "api", "--fd", str(fd), "--stop-on-eof"], STOP_MARGIN_S, pass_fds=(fd,)),
            *self._make_workers([*vlmir, "worker", "--stop-on-eof"]),
        ]

    def _make_workers(self, command: list[str]) -> list[Child]:
        devices = self._settings.worker_devices
        workers = []
        for number, device in enumerate(devices):
            own = {f"{ENV_PREFIX}DEVICE": device, f"{ENV_PREFIX}WORKERS": str(len(devices))}
            own[f"{ENV_PREFIX}DEVICE_WORKERS"] = str(devices.count(device))
            if self._settings.metrics_port:
                own[f"{ENV_PREFIX}METRICS_PORT"] = str(self._settings.metrics_port + number)
            name = "worker" if len(devices) == 1 else f"worker {number + 1}"
            workers.append(Child(name, command, self._settings.grace_s + STOP_MARGIN_S, environment=own))
        return workers

    def _environment(self) -> dict[str, str]:
        return self._settings.environment() if self._redis is None else self._settings.environment(self._redis.url)

    def _watch(self, children: list[Child], environment: dict[str, str], address: tuple[str, int], shown: str) -> int:
        ready = threading.Event()
        threading.Thread(target=_wait_until_ready, args=(address, ready), name="readiness", daemon=True).start()
        while not self._signalled.wait(TICK_S):
            if ready.is_set() and not self._is_ready:
                self._is_ready = True
                typer.echo(f"{READY_LINE}{shown}")
            self._revive_redis()
            for child in children:
                code = self._revive(child, environment)
                if code is not None:
                    return code
        typer.echo("VLMIR stops: what fits into the grace is finished")
        return 0

    def _revive_redis(self) -> None:
        if self._redis is None or self._redis.is_alive():
            return
        typer.echo("the embedded Redis server has ended and is started again", err=True)
        try:
            self._redis.start(self._signalled.is_set)
        except EmbeddedRedisError as error:
            typer.echo(f"{error.detail}; trying again", err=True)
            self._signalled.wait(1.0)

    def _revive(self, child: Child, environment: dict[str, str]) -> int | None:
        """Start a child again that has ended; gives an exit code when the service cannot go on."""
        if child.process is not None:
            code = child.process.poll()
            if code is None:
                return None
            if code == EXIT_UNUSABLE:
                typer.echo(f"the {child.name} cannot work; what it said above must be put right first", err=True)
                return EXIT_UNUSABLE
            lived_s = time.monotonic() - child.started_s
            child.failures = 1 if lived_s > STEADY_S else child.failures + 1
            if not self._is_ready and child.failures >= TRIES_BEFORE_READY:
                typer.echo(f"the {child.name} ended with code {code} again and again; giving up", err=True)
                return EXIT_FAILED
            delay_s = min(FIRST_RESTART_S * 2 ** (child.failures - 1), LAST_RESTART_S)
            typer.echo(f"the {child.name} has ended with code {code}; a new one starts in {delay_s:g} s", err=True)
            child.forget()
            child.start_at_s = time.monotonic() + delay_s
        elif time.monotonic() >= child.start_at_s:
            child.start(environment)
        return None


def _wait_until_ready(address: tuple[str, int], ready: threading.Event) -> None:
    """Ask /readyz until it says yes; runs beside the watch, which must not wait for a slow answer."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])  # noqa: S104  any address is asked locally
    while not ready.is_set():
        connection = http.client.HTTPConnection(host, address[1], timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                ready.set()
        except (OSError, http.client.HTTPException):
            pass  # not up yet
        finally:
            connection.close()
        time.sleep(0.2)
