"""docs/integrate.md, then docs/production.md: every block runs as it is printed, and the tables are the code's."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from app.api.error_catalogue import catalogue
from app.api.operation_errors import errors_of
from app.fetch.fetcher import ImageFetcher
from app.settings import Settings
from tests.support import sample_photos as samples
from tests.support.api import api_settings
from tests.support.batches import give
from tests.support.jobs import until
from tests.support.pages import PAGES, Shell, blocks_of
from tests.support.photo_host import loopback_policy, photo_host, resolving
from tests.support.server import live_api
from tests.support.workers import start_worker_process

TEXT = "".join((PAGES / name).read_text(encoding="utf-8") for name in ("integrate.md", "production.md"))
BLOCKS = blocks_of(TEXT)
START_S = 120.0


@pytest.mark.anyio
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page is about curl")
@pytest.mark.timeout(300)
async def test_every_block_runs_against_a_service(
    redis_url: str, namespace: str, free_port: int, tmp_path: Path
) -> None:
    for name in ("old.jpg", "faded.jpg"):
        (tmp_path / name).write_bytes(samples.jpeg(96, 64))
    secret = re.findall(r"VLMIR_WEBHOOK_SECRETS=(whsec_\w+)", TEXT)[0]
    webhooks = {"webhook_secrets": secret, "webhook_schedule_s": ",".join(["0.2"] * 20)}
    settings = api_settings(redis_url, namespace, model="tiny", **webhooks)
    fetcher = ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))
    worker = start_worker_process(redis_url, namespace)
    try:
        async with photo_host(give) as photos, live_api(settings, fetcher=fetcher) as api:

            async def is_ready() -> bool:
                assert worker.poll() is None, "the worker ended while starting"
                return (await api.client.get("/readyz")).status_code == 200

            await until(is_ready, START_S)
            places = {
                "http://127.0.0.1:8000": f"http://127.0.0.1:{api.port}",
                "https://photos.example": f"http://photos.example:{photos.port}",
                "https://shop.example": f"http://shop.example:{free_port}",
                "127.0.0.1:9000": f"127.0.0.1:{free_port}",
                '("127.0.0.1", 9000)': f'("127.0.0.1", {free_port})',
            }
            assert all(place in TEXT for place in places)
            shell = Shell(tmp_path, {"VLMIR_REDIS_URL": redis_url, "VLMIR_NAMESPACE": namespace}, places)
            try:
                for block in BLOCKS:
                    await shell.run(block)
            finally:
                shell.close()
    finally:
        worker.terminate()
        worker.wait(60)


def test_no_block_is_left_out() -> None:
    assert TEXT.count("```") == 2 * (len(BLOCKS) + sum(block.expected is not None for block in BLOCKS))
    assert len(BLOCKS) >= 15
    for block in BLOCKS:
        if block.file is not None:  # kept under this name, so some block must run it
            assert any(f"python {block.file}" in other.code for other in BLOCKS if other.language == "bash")


def test_every_code_of_submitting_and_fetching_is_in_the_table() -> None:
    told = {code: row for row in rows("what it means") for code in re.findall(r"`(\w+)`", row[1])}
    submitting = {item.code for item in errors_of("POST /restore")}
    # "error_code" is the name of a member; the rest of `of_jobs` are told of in the text of the row.
    known = {entry.code: entry for entry in catalogue()}
    assert submitting | {"result_not_ready"} <= set(told)
    assert set(told) <= known.keys() | {"error_code"}
    for code in submitting - {"job_failed", "job_canceled"}:
        statuses = re.findall(r"\d{3}", told[code][0])
        assert str(known[code].status) in statuses, f"{code} is told with {statuses}"
    repeated = {code for code, row in told.items() if row[2].startswith("the same")}
    assert {code for code in repeated if known[code].retryable == "no"} == set()


def test_codes_that_python_sends_again_are_retryable_or_are_healed_by_a_new_upload() -> None:
    (listed,) = re.findall(r'error_code in \(("\w+", "\w+")\)', TEXT)
    codes = set(re.findall(r'"(\w+)"', listed))
    assert {entry.code for entry in catalogue() if entry.of_jobs and entry.retryable == "yes"} <= codes
    assert codes <= {entry.code for entry in catalogue() if entry.of_jobs}


def test_settings_are_settings() -> None:
    names = set(re.findall(r"`VLMIR_(\w+)", TEXT))
    assert len(names) > 10
    assert {name.lower() for name in names} <= set(Settings.model_fields)
    assert Settings().webhook_timeout_s == 15
    assert Settings().result_ttl_s == 3600
    assert "15 seconds" in TEXT


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first heading is this."""
    table = TEXT.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
