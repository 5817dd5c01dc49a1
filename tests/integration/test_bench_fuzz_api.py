"""Hostile uploads through real HTTP to the API, with a real Redis and a real worker; what goes wrong is noticed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.bench.fuzz_api import WAYS, FuzzLoad, fuzz_service, hostile_load, original_load
from app.bench.mutate import CHANGES, originals
from app.commands.bench import app
from app.errors import InvalidImageError, ServiceError
from app.exit_codes import EXIT_FAILED
from app.jobs.queue import Claim
from app.worker.runner import Runner
from tests.support.api import api_settings
from tests.support.api import working as scripted
from tests.support.sample_photos import png
from tests.support.server import live_api
from tests.support.workers import working

UPLOADS = 60


class RestorationFailedError(ServiceError):
    code = "restoration_failed"


class WorkerLostError(ServiceError):
    code = "worker_lost"


@pytest.mark.anyio
async def test_hostile_uploads_are_refused_or_restored_and_leave_nothing(
    redis_url: str, namespace: str, runner: Runner
) -> None:
    settings = api_settings(redis_url, namespace)
    async with live_api(settings) as live, working(live.services.queue, runner):
        url = f"http://127.0.0.1:{live.port}"
        warm = await fuzz_service(url, original_load())
        done: list[int] = []
        found = await fuzz_service(url, hostile_load(UPLOADS, 3, 4, jobs=8), on_progress=done.append)
        jobs = (await live.client.get("/jobs")).json()["jobs"]
    assert set(warm.statuses) == {"202"}
    assert set(warm.jobs) == {"succeeded"}
    assert found.uploads == sum(found.statuses.values()) == UPLOADS
    assert done == list(range(1, UPLOADS + 1))
    assert not found.server_errors
    assert not found.unanswered
    assert not found.unfinished
    assert set(found.by_change) == {*CHANGES, "bomb"}
    assert found.statuses["422 invalid_image"] > UPLOADS / 10
    accepted = found.statuses["202"]
    assert accepted > 8
    assert sum(found.jobs.values()) == accepted
    assert found.jobs["deleted unseen"] == accepted - 8
    assert jobs == []


@pytest.mark.anyio
async def test_errors_of_the_server_and_broken_connections_are_told() -> None:
    """A server that answers every upload of an odd number with 500 and hangs up on the others."""
    answer = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = b""
        while b"odd" not in seen and b"even" not in seen:
            seen += await reader.read(4096)
        if b"odd" in seen:
            writer.write(answer)
            while await reader.read(4096):
                pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    load = FuzzLoad(lambda index: ("plain", b"odd\n" if index % 2 else b"even\n"), 0, 8, 2, 0, WAYS)
    async with server:
        found = await fuzz_service(url, load)
    assert found.server_errors == ["POST /restore: 500"] * 4
    assert len(found.unanswered) == 4
    assert found.statuses == {"500 without a code": 4, "no answer": 4}


@pytest.mark.anyio
async def test_accepted_photos_that_the_service_loses_or_fails_are_told(redis_url: str, namespace: str) -> None:
    ends = {1: InvalidImageError("damaged"), 2: RestorationFailedError("no luck"), 3: WorkerLostError("gone")}
    numbers = iter(range(4))

    def work(claim: Claim) -> bytes | Exception:
        return ends.get(next(numbers)) or b"restored"

    load = FuzzLoad(lambda _: ("plain", png()), 0, 4, 1, 4, WAYS[:1])
    async with live_api(api_settings(redis_url, namespace)) as live, scripted(live.services.queue, work):
        found = await fuzz_service(f"http://127.0.0.1:{live.port}", load)
    assert found.jobs == {
        "succeeded": 1,
        "failed: invalid_image": 1,
        "failed: restoration_failed": 1,
        "failed: worker_lost": 1,
    }
    assert found.harmed == [
        "upload 2 (plain): failed: restoration_failed",
        "upload 3 (plain): failed: worker_lost",
    ]


@pytest.mark.anyio
async def test_the_command_fails_when_restorations_do(redis_url: str, namespace: str) -> None:
    def work(claim: Claim) -> bytes | Exception:
        return RestorationFailedError("no luck")

    async with live_api(api_settings(redis_url, namespace)) as live, scripted(live.services.queue, work):
        command = ["fuzz-api", f"http://127.0.0.1:{live.port}", "--uploads", "1", "--jobs", "0"]
        result = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert result.exit_code == EXIT_FAILED, result.output
    accepted = len(originals())  # the undamaged files, which must be restored
    assert f"accepted photos that were lost or failed for want of the service: {accepted} (goal 0)" in result.output


@pytest.mark.slow
def test_the_command_starts_a_service_watches_it_and_stops_it(tmp_path: Path) -> None:
    path = tmp_path / "fuzz.json"
    options = ["--model", "tiny", "--uploads", "30", "--at-once", "4", "--jobs", "4", "--json", str(path)]
    result = CliRunner().invoke(app, ["fuzz-api", *options])
    assert result.exit_code == 0, result.output
    assert "processes that died or started anew: 0 (goal 0)" in result.output
    figures = json.loads(path.read_text())["fuzz_api"]
    assert figures["uploads"] == 30
    assert set(figures["processes"]) == {"API", "worker", "Redis"}
    assert all(seen["first_bytes"] > 2**20 for seen in figures["processes"].values())
