"""What accepting costs is measured against an echo, with real processes, and not at all where something is wrong."""

from __future__ import annotations

import asyncio
import io
import json
import statistics
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import redis
from PIL import Image
from typer.testing import CliRunner

from app.bench.accept import AcceptLoad, Taken, Target, make_photo, measure_accept, ratio_of
from app.bench.emptying import empty_redis
from app.bench.processes import listening, own_environment
from app.client.errors import RemoteError, ServiceUnreachableError
from app.commands.bench import app
from app.jobs.queue import JobQueue
from tests.support.redis_server import RedisServer
from tests.support.workers import noise_png, photo_job

ECHO = [sys.executable, "-m", "app.bench.echo"]


async def nothing() -> None:
    pass


def test_photos_have_the_bytes_that_are_asked_for() -> None:
    for file_bytes in (5_000, 200_000):
        photo = make_photo(file_bytes)
        assert 0.9 * file_bytes < len(photo) <= file_bytes
        with Image.open(io.BytesIO(photo)) as image:
            assert image.format == "JPEG"
    assert image.size == (1024, 768)


def test_rates_are_compared_round_by_round() -> None:
    accept, echo = Taken("a", [10.0, 30.0, 40.0], [0.1] * 99 + [0.9], {"API": 2.0}), Taken("b", [40.0, 60.0, 60.0])
    assert ratio_of(accept, echo) == 0.5
    assert accept.requests_per_s == 30.0
    assert accept.percentile_ms(0.5) == pytest.approx(100)
    assert accept.percentile_ms(1.0) == pytest.approx(900)
    assert accept.cpu_ms() == {"API": 20.0}


def test_uploads_go_to_both_in_turns_and_room_is_made_outside_of_the_time(tmp_path: Path) -> None:
    made: list[int] = []

    async def make_room() -> None:
        made.append(1)

    with listening(ECHO, own_environment(), tmp_path / "log") as echo:
        url = f"{echo.url}/echo"
        targets = Target("one", url, 200, {"echo": echo.pid}), Target("two", url, 200)
        first, second = asyncio.run(measure_accept(targets, AcceptLoad(make_photo(3000), 5, 3, 2), make_room))
    assert len(made) == 1 + 3
    assert (first.name, second.name) == ("one", "two")
    for taken in (first, second):
        assert len(taken.rates) == 3
        assert len(taken.latencies_s) == 3 * 5
        assert taken.latencies_s == sorted(taken.latencies_s)
    assert list(first.cpu_s) == ["echo"]
    # The log of the server shows that all of them were answered: two targets, rounds and warm-ups.
    assert (tmp_path / "log").read_text().count('"POST /echo') == 2 * (3 * 5 + 2 * 5)


@pytest.mark.parametrize(("path", "expected", "answered"), [("/echo", 202, 200), ("/else", 200, 404)])
def test_an_answer_other_than_expected_ends_the_measurement(
    tmp_path: Path, path: str, expected: int, answered: int
) -> None:
    with listening(ECHO, own_environment(), tmp_path / "log") as echo:
        targets = (Target("a", echo.url + path, expected),) * 2
        with pytest.raises(RemoteError) as caught:
            asyncio.run(measure_accept(targets, AcceptLoad(make_photo(3000), 1, 1, 1), nothing))
    assert caught.value.remote_status == answered


def test_a_server_that_does_not_start_is_told_with_its_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('there is no such thing')"]
    with pytest.raises(ServiceUnreachableError, match="no such thing"), listening(command, {}, tmp_path / "log"):
        pass


def test_settings_of_the_shell_do_not_reach_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMIR_RATE_PER_S", "1")
    environment = own_environment(max_queued="7")
    assert "VLMIR_RATE_PER_S" not in environment
    assert environment["VLMIR_MAX_QUEUED"] == "7"
    assert "PATH" in environment


def test_redis_is_emptied_with_its_log_and_takes_jobs_afterwards() -> None:
    server = RedisServer()
    server.start()

    def in_queue(use: Callable[[JobQueue], Awaitable[object]]) -> None:
        async def run() -> None:
            queue = JobQueue.from_url(server.url)
            await use(queue)
            await queue.close()

        asyncio.run(run())

    try:
        photo = noise_png(256, 256)
        in_queue(lambda queue: queue.submit(photo_job(), photo))
        assert sum(path.stat().st_size for path in server.dir.rglob("*.aof")) > len(photo)
        asyncio.run(empty_redis(server.url))
        assert sum(path.stat().st_size for path in server.dir.rglob("*.aof")) < len(photo) / 10
        client = redis.Redis(unix_socket_path=str(server.socket))
        assert {client.type(name) for name in client.scan_iter()} == {b"stream"}
        client.close()
        in_queue(lambda queue: queue.submit(photo_job(), photo))
    finally:
        server.close()


def test_the_command_prints_and_writes_what_it_measured(tmp_path: Path) -> None:
    path = tmp_path / "accept.json"
    options = ["--requests", "6", "--rounds", "2", "--callers", "2", "--photo-bytes", "4000", "--json", str(path)]
    result = CliRunner().invoke(app, ["accept", *options])
    assert result.exit_code == 0, result.output
    assert "goal at least 0.5" in result.output
    figures = json.loads(path.read_text())["accept"]
    restore, echo = figures["restore"], figures["echo"]
    ratios = [mine / other for mine, other in zip(restore["rates"], echo["rates"], strict=True)]
    assert len(ratios) == 2
    assert figures["ratio"] == pytest.approx(statistics.median(ratios))
    assert restore["p99_ms"] >= restore["p50_ms"] > 0
    assert set(restore["cpu_ms"]) == {"API", "Redis", "client"}
