"""`vlmir batch` with a real service on a port, real Redis and the tiny model behind it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.client import VlmirClient
from app.errors import ServiceError
from app.images import read_settings
from app.jobs.job import JobState
from app.jobs.queue import Claim
from app.worker.local import restore_locally
from tests.integration.test_api_client import serving
from tests.support import sample_photos as samples
from tests.support.api import CAPTION

if TYPE_CHECKING:
    from app.worker.runner import Runner


def vlmir(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["file"] for row in rows}) == len(rows)
    return {row["file"]: row for row in rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos, one of them in a folder, and a file that is none."""
    (tmp_path / "in" / "trip").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "trip/c.png")):
        (tmp_path / "in" / name).write_bytes(samples.png(60 + number, 50))
    (tmp_path / "in" / "notes.txt").write_text("no photo")
    return tmp_path / "in"


@pytest.fixture
def restoring(runner: Runner) -> Callable[[Claim], bytes | Exception]:
    def work(claim: Claim) -> bytes | Exception:
        if claim.job.width == 61 and claim.job.options.seed == 13:
            return RuntimeError("unlucky number")
        return restore_locally(runner, claim.image, claim.job.options).data

    return work


def jobs_of(url: str) -> list[Any]:
    with VlmirClient(url) as client:
        return list(client.jobs())


def test_folder_is_restored_once_and_what_failed_or_came_later_is_done_next_time(
    redis_url: str, namespace: str, folder: Path, tmp_path: Path, restoring: Callable[[Claim], bytes | Exception]
) -> None:
    out = tmp_path / "out"
    with serving(redis_url, namespace, worker=restoring) as url:
        call = ("batch", folder, "--out", out, "--server", url, "--steps", "1", "--format", "jpeg")
        first = vlmir(*call, "--seed", "13", "--photo-metadata", "strip-gps", "--at-once", "2")
        assert first.exit_code == 1
        assert "2 restored, 1 failed, 1 other file(s) passed over" in first.output
        assert "b.png: restoration_failed: unlucky number" in first.output
        rows = rows_of(out / "report.csv")
        assert {name: row["state"] for name, row in rows.items()} == {
            "a.png": "succeeded", "b.png": "failed", "trip/c.png": "succeeded",
        }  # fmt: skip
        assert (rows["a.png"]["kinds"], rows["a.png"]["caption"], rows["a.png"]["error"]) == ("rain", CAPTION, "")
        assert float(rows["a.png"]["seconds"]) > 0
        assert read_settings((out / "trip" / "c.png.jpg").read_bytes())["seed"] == "13"
        assert [job.document["options"]["photo_metadata"] for job in jobs_of(url)] == ["strip-gps"] * 3
        assert {job.priority for job in jobs_of(url)} == {"batch"}

        (folder / "d.png").write_bytes(samples.png(70, 50))
        again = vlmir(*call, "--seed", "14")
        assert again.exit_code == 0, again.output
        assert "2 restored, 2 had a result" in again.output
        assert len(jobs_of(url)) == 5
        assert {name: row["state"] for name, row in rows_of(out / "report.csv").items()} == dict.fromkeys(
            ("a.png", "b.png", "d.png", "trip/c.png"), "succeeded"
        )
        assert rows_of(out / "report.csv")["a.png"] == rows["a.png"]


def test_batch_that_is_killed_goes_on_with_the_jobs_it_had(
    redis_url: str, namespace: str, folder: Path, tmp_path: Path, restoring: Callable[[Claim], bytes | Exception]
) -> None:
    out = tmp_path / "out"
    call = ["batch", str(folder), "--out", str(out), "--steps", "1", "--at-once", "2", "--server"]
    with serving(redis_url, namespace, with_worker=False) as url:
        program = subprocess.Popen([sys.executable, "-m", "app.cli", *call, url], env=os.environ)
        try:
            deadline = time.monotonic() + 60
            while len(waiting := jobs_of(url)) < 2:
                assert program.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            program.send_signal(signal.SIGKILL)
            program.wait()
        assert [job.state for job in waiting] == [JobState.QUEUED] * 2
    with serving(redis_url, namespace, worker=restoring) as url:
        done = vlmir(*call, url)
        assert done.exit_code == 0, done.output
        assert len(jobs_of(url)) == 3
        assert {job.id for job in waiting} < {job.id for job in jobs_of(url)}
    assert [row["state"] for row in rows_of(out / "report.csv").values()] == ["succeeded"] * 3


def test_job_that_failed_or_whose_result_is_gone_is_made_anew(
    redis_url: str, namespace: str, folder: Path, tmp_path: Path, runner: Runner
) -> None:
    calls: list[str] = []

    def work(claim: Claim) -> bytes | Exception:
        calls.append(claim.job.id)
        if len(calls) == 1:
            return ServiceError("a bad moment")
        return restore_locally(runner, claim.image, claim.job.options).data

    for name in ("b.png", "trip/c.png"):
        (folder / name).unlink()
    with serving(redis_url, namespace, worker=work) as url, VlmirClient(url) as client:
        call = ("batch", folder, "--out", tmp_path / "out", "--server", url, "--steps", "1")
        failed = vlmir(*call)
        assert (failed.exit_code, "a.png: internal_error: a bad moment" in failed.output) == (1, True)
        assert vlmir(*call).exit_code == 0
        (tmp_path / "out" / "a.png").unlink()
        for job in jobs_of(url):
            client.purge(job)
        assert vlmir(*call).exit_code == 0
        assert len(calls) == 3
    assert (tmp_path / "out" / "a.png").exists()


def test_what_concerns_all_photos_ends_it_at_once(
    redis_url: str, namespace: str, folder: Path, tmp_path: Path, free_port: int
) -> None:
    out = tmp_path / "out"
    absent = vlmir("batch", folder, "--out", out, "--server", f"http://127.0.0.1:{free_port}")
    assert absent.exit_code == 1
    assert "does not answer" in absent.output
    assert "0 restored, 3 not done" in absent.output
    with serving(redis_url, namespace, with_worker=False) as url:
        unknown = vlmir("batch", folder, "--out", out, "--server", url, "--model", "night")
    assert (unknown.exit_code, unknown.output.count("There is no model 'night'")) == (1, 1)
    assert rows_of(out / "report.csv") == {}
