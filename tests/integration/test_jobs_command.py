"""`vlmir jobs` against a real server."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.client import VlmirClient
from app.exit_codes import EXIT_FAILED
from tests.integration.test_api_client import FAILING_SEED, serving
from tests.support import sample_photos as samples


def vlmir(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["jobs", *arguments])


def test_jobs_are_listed_shown_and_canceled(redis_url: str, namespace: str) -> None:
    with serving(redis_url, namespace, with_worker=False) as url, VlmirClient(url) as client:
        first, second = (client.submit(samples.png()) for _ in range(2))
        listed = vlmir("ls", "--server", url)
        assert listed.exit_code == 0, listed.output
        heading, *lines = listed.output.splitlines()
        assert heading.split()[:2] == ["JOB", "STATE"]
        assert [line.split()[0] for line in lines] == [second.id, first.id]
        assert "queued" in lines[0]
        assert "#2" in lines[0]
        assert "48 x 32 image/png" in lines[0]
        assert json.loads(vlmir("get", first.id, "--server", url).output)["id"] == first.id
        assert vlmir("cancel", first.id, "--server", url).output == f"{first.id}  canceled\n"
        rows = vlmir("ls", "--state", "canceled", "--json", "--server", url).output.splitlines()
        assert [json.loads(row)["id"] for row in rows] == [first.id]
        assert len(vlmir("ls", "-n", "1", "--json", "--server", url).output.splitlines()) == 1
        assert len(vlmir("ls", "-n", "0", "--json", "--server", url).output.splitlines()) == 2
        assert vlmir("ls", "--since", "2999-01-01", "--json", "--server", url).output == ""
        odd = vlmir("ls", "--state", "done", "--server", url)
        assert (odd.exit_code, "queued" in odd.output) == (2, True)
        watched = vlmir("watch", first.id, "--server", url)
        assert watched.exit_code == EXIT_FAILED
        assert [line.split()[1] for line in watched.output.splitlines()] == ["queued", "canceled"]
        purged = vlmir("purge", first.id, "0" * 32, second.id, "--server", url)
        assert purged.exit_code == EXIT_FAILED
        assert [line.split(maxsplit=1)[1] for line in purged.output.splitlines()] == ["deleted", "not found", "deleted"]
        assert vlmir("ls", "--json", "--server", url).output == ""
        missing = vlmir("get", "0" * 32, "--server", url)
        assert (missing.exit_code, "No job has the id" in missing.output) == (EXIT_FAILED, True)


@pytest.mark.parametrize(("seed", "state", "code"), [(1, "succeeded", 0), (FAILING_SEED, "failed", EXIT_FAILED)])
def test_job_is_watched_to_its_end(redis_url: str, namespace: str, seed: int, state: str, code: int) -> None:
    with serving(redis_url, namespace) as url, VlmirClient(url) as client:
        job = client.submit(samples.png(), seed=seed)
        watched = vlmir("watch", job.id, "--server", url)
        assert watched.exit_code == code, watched.output
        said = [line.split(maxsplit=1)[1] for line in watched.output.splitlines()]
        assert said[:3] == ["queued", "running", "step 1 of 2"]
        assert said[-1] == (state if code == 0 else "failed (restoration_failed: unlucky number)")
        events = [json.loads(line) for line in vlmir("watch", job.id, "--json", "--server", url).output.splitlines()]
        assert events[-1]["data"]["job"]["state"] == state
        assert len(events) == len(said)
        after = vlmir("watch", job.id, "--after", events[-1]["id"], "--server", url)
        assert (after.exit_code, after.output) == (code, "")
