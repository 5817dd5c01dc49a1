"""The supervisor with small stand-in programs as children: restarts, giving up, order of stopping, orphans."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.commands.listening import ListenError
from app.commands.supervisor import Child, Supervisor
from app.settings import Settings

# Writes its name when it starts and when it is asked to stop.
STEADY = """
import signal, sys, time
log = lambda word: open(sys.argv[2], "a").write(f"{sys.argv[1]} {word}\\n")
def stop(*_):
    log("stops")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
log("starts")
while True:
    time.sleep(0.05)
"""
CRASH_ONCE = (
    "import pathlib, sys; p = pathlib.Path(sys.argv[2] + '.once'); p.exists() or (p.touch(), sys.exit(1));" + STEADY
)
ALWAYS_ENDS = "import sys; sys.exit(int(sys.argv[1]))"
SUPERVISE = """
import pathlib, sys
from app.settings import Settings
from tests.integration.test_supervisor import STEADY, StandIns
log = pathlib.Path(sys.argv[1])
StandIns(Settings(redis_url="redis://unused", port=0), log, [("API", STEADY), ("worker", STEADY)]).run()
"""


class StandIns(Supervisor):
    """A supervisor of scripts; each gets its name and the log as arguments."""

    def __init__(self, settings: Settings, log: Path, scripts: list[tuple[str, str]]) -> None:
        super().__init__(settings)
        self.log = log
        self.scripts = scripts

    def make_children(self, listener: socket.socket) -> list[Child]:
        return [Child(name, [sys.executable, "-c", text, name, str(self.log)], 10.0) for name, text in self.scripts]


@pytest.fixture
def settings() -> Settings:
    return Settings(redis_url="redis://unused", port=0)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def stop_when(condition: Callable[[], bool]) -> threading.Thread:
    """Sends this process SIGTERM, which the running supervisor handles, once the condition holds."""

    def watch() -> None:
        wait_for(condition)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_stops_the_api_before_the_worker(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "log"
    thread = stop_when(lambda: len(lines(log)) == 2)
    assert StandIns(settings, log, [("API", STEADY), ("worker", STEADY)]).run() == 0
    thread.join()
    assert lines(log)[2:] == ["API stops", "worker stops"]


def test_workers_are_stopped_together_and_hurried_together(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "log"
    # Ends by itself at the second request only, as a worker with much to do, and tells of both.
    slow = STEADY.replace(
        '    log("stops")\n    sys.exit(0)',
        '    asked.append(1); log(f"asked {len(asked)}")\n    len(asked) == 2 and sys.exit(0)',
    )
    slow = slow.replace("import signal", "asked = []\nimport signal", 1)
    names = ["w1", "w2", "w3"]
    both = [
        stop_when(lambda: len(lines(log)) == 4),
        stop_when(lambda: sum("asked 1" in line for line in lines(log)) == 3),
    ]
    assert StandIns(settings, log, [("API", STEADY), *((name, slow) for name in names)]).run() == 0
    for thread in both:
        thread.join()
    told = lines(log)[5:]
    assert sorted(told[:3]) == [f"{name} asked 1" for name in names]
    assert sorted(told[3:]) == [f"{name} asked 2" for name in names]


def test_each_worker_has_its_device_and_its_port_for_metrics() -> None:
    several = Settings(redis_url="redis://unused", port=0, device="cuda:0,cuda:1", workers=3, metrics_port=9100)
    with socket.socket() as listener:
        _, *workers = Supervisor(several).make_children(listener)
    assert [child.name for child in workers] == ["worker 1", "worker 2", "worker 3"]
    assert [child.environment["VLMIR_DEVICE"] for child in workers] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [child.environment["VLMIR_METRICS_PORT"] for child in workers] == ["9100", "9101", "9102"]
    assert {child.environment["VLMIR_WORKERS"] for child in workers} == {"3"}
    assert [child.environment["VLMIR_DEVICE_WORKERS"] for child in workers] == ["2", "1", "2"]


def test_starts_a_crashed_child_again(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    thread = stop_when(lambda: sorted(lines(log)) == ["API starts", "worker starts"])
    assert StandIns(settings, log, [("API", STEADY), ("worker", CRASH_ONCE)]).run() == 0
    thread.join()
    assert "the worker has ended with code 1; a new one starts" in capsys.readouterr().err


def test_gives_up_when_a_child_never_comes_up(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert StandIns(settings, tmp_path / "log", [("API", STEADY), ("3", ALWAYS_ENDS)]).run() == 1
    assert "giving up" in capsys.readouterr().err
    assert lines(tmp_path / "log")[-1] == "API stops"


def test_does_not_repeat_what_cannot_work(settings: Settings, tmp_path: Path) -> None:
    assert StandIns(settings, tmp_path / "log", [("API", STEADY), ("78", ALWAYS_ENDS)]).run() == 78
    assert lines(tmp_path / "log").count("API starts") == 1


def test_unknown_address_is_explained(tmp_path: Path) -> None:
    settings = Settings(redis_url="redis://unused", host="no.such.host.invalid")
    with pytest.raises(ListenError, match="--host"):
        StandIns(settings, tmp_path / "log", []).run()


def test_children_of_a_killed_supervisor_see_the_end_of_their_input(tmp_path: Path) -> None:
    log = tmp_path / "log"
    watching = "import sys; sys.stdin.buffer.read(); open(sys.argv[2], 'a').write('input closed\\n')"
    script = SUPERVISE.replace('("worker", STEADY)', f'("worker", {watching!r})').replace('("API", STEADY), ', "")
    process = subprocess.Popen([sys.executable, "-c", script, str(log)], stdout=subprocess.DEVNULL)
    try:
        assert process.poll() is None
        time_to_start = time.monotonic() + 30
        while not _children_of(process.pid):
            assert time.monotonic() < time_to_start
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: lines(log) == ["input closed"])


def test_stops_while_redis_is_still_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, started, log = tmp_path / "redis-server", tmp_path / "started", tmp_path / "log"
    version = '[ "$1" = --version ] && echo "Redis server v=7.0.0" && exit'
    program.write_text(f"#!/bin/sh\n{version}\n: > {started}\nexec sleep 60\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    thread = stop_when(started.exists)
    waiting = Settings(redis_url=None, port=0, state_dir=tmp_path / "state")
    assert StandIns(waiting, log, [("API", STEADY), ("worker", STEADY)]).run() == 0
    thread.join()
    assert lines(log) == []


def _children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
