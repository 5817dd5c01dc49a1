"""`vlmir dead` against a real Redis."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.exit_codes import EXIT_FAILED
from app.jobs.job import Job
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import LONG_LEASE_MS, make_job, open_queue

ONE_TRY = QueuePolicy(lease_ms=LONG_LEASE_MS, max_deliveries=1)


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch, redis_url: str, namespace: str) -> None:
    monkeypatch.setenv("VLMIR_REDIS_URL", redis_url)
    monkeypatch.setenv("VLMIR_NAMESPACE", namespace)


@pytest.fixture
def jobs(redis_url: str, namespace: str) -> list[Job]:
    """Three dead jobs, oldest first: two of one tenant, one of those with another error."""

    async def bury() -> list[Job]:
        async with open_queue(redis_url, namespace, ONE_TRY) as queue:
            return [
                await _bury(queue, "acme", "worker_lost"),
                await _bury(queue, "acme", "device_out_of_memory"),
                await _bury(queue, "other", "worker_lost"),
            ]

    return asyncio.run(bury())


async def _bury(queue: JobQueue, tenant: str, code: str) -> Job:
    job = await queue.submit(replace(make_job(tenant=tenant), metadata={"order": 7}), b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    await queue.fail(claim, code, "no luck", retryable=True)
    return job


def dead(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["dead", *arguments])
    assert result.exit_code == code, result.output
    return result


def listed(*arguments: str) -> list[str]:
    return [json.loads(line)["id"] for line in dead("ls", "--json", *arguments).output.splitlines()]


def test_dead_jobs_are_listed_and_shown(jobs: list[Job]) -> None:
    first, second, third = (job.id for job in jobs)
    heading, *lines = dead("ls").output.splitlines()
    assert heading.split() == ["JOB", "DIED", "TRIES", "RETRY", "TENANT", "REASON"]
    assert [line.split()[0] for line in lines] == [third, second, first]
    assert lines[1].split()[3:] == ["1", "yes", "acme", "device_out_of_memory:", "no", "luck"]
    assert listed("-n", "2") == [third, second]
    assert listed("-n", "0", "--tenant", "acme") == [second, first]
    assert listed("-n", "1", "--code", "worker_lost") == [third]
    shown = json.loads(dead("show", second).output)
    assert (shown["id"], shown["tenant"], shown["deliveries"], shown["retryable"]) == (second, "acme", 1, True)
    assert shown["error"] == {"code": "device_out_of_memory", "detail": "no luck"}
    assert (shown["record"]["state"], shown["record"]["metadata"]) == ("failed", {"order": 7})
    assert "is not dead" in dead("show", "0" * 32, code=EXIT_FAILED).output


def test_dead_jobs_are_retried_and_dropped_by_name_and_all_that_are_meant(jobs: list[Job]) -> None:
    first, second, third = (job.id for job in jobs)
    refused = dead("retry", second, "0" * 32, code=EXIT_FAILED).output.splitlines()
    assert [line.split()[:2] for line in refused] == [[second, "queued"], ["0" * 32, "job_not_found:"]]
    assert dead("retry", "--all", "--code", "worker_lost", "--tenant", "acme").output == f"{first}  queued\n"
    assert "job_not_dead" in dead("drop", first, code=EXIT_FAILED).output
    assert dead("drop", "--all").output == f"{third}  dropped\n"
    assert dead("drop", "--all").output == ""
    assert listed() == []


def test_which_jobs_are_meant_must_be_said() -> None:
    for arguments in ([], ["0" * 32, "--all"], ["0" * 32, "--code", "worker_lost"], ["--tenant", "acme"]):
        for command in ("retry", "drop"):
            assert "--all" in dead(command, *arguments, code=2).output


def test_without_a_server_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMIR_REDIS_URL", "redis://127.0.0.1:1")
    assert "does not answer" in dead("ls", code=EXIT_FAILED).output
