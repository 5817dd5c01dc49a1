"""A Redis server whose service was killed: ended by the last process that needed it, and by no other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.jobs.embedded import EmbeddedRedis, find_running
from app.jobs.orphans import end_orphan
from tests.integration.test_queue_embedded import LEAVE_BEHIND
from tests.support.roles import is_running, wait_until


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[int]:
    """Process id of a server that a killed service has left in the folder."""
    command = [sys.executable, "-c", LEAVE_BEHIND, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        pid = int(service.stdout.readline())
        service.kill()
    yield pid
    with EmbeddedRedisOf(tmp_path):  # ends whatever is left
        pass


class EmbeddedRedisOf:
    """A server for the length of a block."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedRedis(folder)

    def __enter__(self) -> EmbeddedRedis:
        self._server.start()
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.stop()


def test_the_last_one_ends_the_server(orphan: int, tmp_path: Path) -> None:
    url = find_running(tmp_path)
    assert url is not None
    client = redis.Redis.from_url(url)
    client.ping()
    assert not end_orphan(tmp_path, wait_s=0.3)  # somebody still needs it
    assert is_running(orphan)
    client.close()
    assert end_orphan(tmp_path)
    wait_until(lambda: not is_running(orphan))
    assert not end_orphan(tmp_path)  # nothing is left to end


def test_server_of_a_service_that_runs_is_left_alone(tmp_path: Path) -> None:
    with EmbeddedRedisOf(tmp_path) as server:
        assert not end_orphan(tmp_path)
        assert server.is_alive()


def test_folder_without_a_server_is_nothing_to_end(tmp_path: Path) -> None:
    assert not end_orphan(tmp_path)
    assert not end_orphan(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
