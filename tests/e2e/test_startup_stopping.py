"""Requests to stop at awkward moments, a supervisor that is killed, and standard input that is closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.support.roles import Role, answer_of, children_of, environment_of, is_running, role, wait_until

pytestmark = pytest.mark.slow
MODEL = ("--model", "tiny")


def test_worker_that_is_still_loading_stops_in_order(tmp_path: Path, redis_url: str, namespace: str) -> None:
    settings = {"REDIS_URL": redis_url, "NAMESPACE": namespace, "THREADS": 1}
    with role(tmp_path / "log", "worker", *MODEL, **settings) as worker:
        maps = Path(f"/proc/{worker.process.pid}/maps")
        wait_until(lambda: not worker.is_alive() or "libtorch_cpu" in maps.read_text())
        assert worker.stop() == 0, worker.output
        assert "is ready" not in worker.output
        assert "Traceback" not in worker.output


def test_service_stops_while_it_starts(tmp_path: Path) -> None:
    with role(tmp_path / "log", "serve", *MODEL, "--port", "0", STATE_DIR=tmp_path / "state") as service:
        service.wait_for_line("VLMIR starts at ")
        wait_until(lambda: not service.is_alive() or len(children_of(service.process.pid)) == 3)
        children = children_of(service.process.pid)
        assert service.stop() == 0, service.output
        assert "did not stop cleanly" not in service.output
        assert "Traceback" not in service.output
        assert not any(is_running(pid) for pid in children)


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-m", "app.cli", "serve", *MODEL, "--port", "0"]
    environment = environment_of({"STATE_DIR": state, "THREADS": 1, "GRACE_S": 5})
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", 'exec "$@" <&-', "sh", *command], env=environment, stdout=log, stderr=log
        )
    service = Role(process, tmp_path / "log")
    children: set[int] = set()
    try:
        url = service.wait_for_line("VLMIR is ready at ")
        answer = answer_of(f"{url}/healthz")
        assert answer is not None  # its socket has not been taken for a standard stream
        children = children_of(process.pid)
        assert len(children) == 3
        with redis.Redis(unix_socket_path=str(state / "redis" / "redis.sock")) as client:
            assert client.info("server")["process_id"] in children
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in children))
    assert "Traceback" not in service.output
