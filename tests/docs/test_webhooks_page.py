"""docs/webhooks.md: its receiver runs as it is printed, and its tables are those of the code."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.fetch.fetcher import ImageFetcher
from app.jobs.webhook import WEBHOOK_EVENTS
from app.settings import Settings
from app.webhooks.policy import SCHEDULE_S, WebhookPolicy
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api, working
from tests.support.photo_host import loopback_policy, resolving

TEXT = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.anyio
async def test_receiver_takes_a_webhook_of_the_service(redis_url: str, namespace: str, free_port: int) -> None:
    (code,) = blocks("python")
    secret = re.findall(r'"(whsec_\w+)"', code)[0]
    assert code.count("9000") == 1
    command = (sys.executable, "-c", code.replace("9000", str(free_port)))
    receiver = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert receiver.stdout is not None
    settings = api_settings(redis_url, namespace, webhook_secrets=secret, webhook_schedule_s=",".join(["0.2"] * 20))
    fetcher = ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))
    try:
        async with running_api(settings, fetcher) as (client, services), working(services.queue):
            data = {"webhook": f"http://shop.example:{free_port}/hooks/photos", "metadata": '{"order": 7}'}
            job = (await client.post("/restore", files={"image": ("a.png", samples.png())}, data=data)).json()
            line = await asyncio.wait_for(receiver.stdout.readline(), 30)
            assert line.decode() == f"job.succeeded {job['id']} {{'order': 7}}\n"
            forged = await asyncio.open_connection("127.0.0.1", free_port)
            forged[1].write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
            assert b" 401 " in await forged[0].readline()
            forged[1].close()
    finally:
        receiver.kill()
        await receiver.wait()


def test_secret_that_the_page_makes_is_one() -> None:
    (line,) = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("python3 -c")]
    code = re.fullmatch(r"python3 -c '(.*)'", line)
    assert code is not None
    made = subprocess.run([sys.executable, "-c", code[1]], capture_output=True, text=True, check=True).stdout.strip()
    assert Settings(webhook_secrets=made).webhook_secrets == made


def test_tables_are_those_of_the_code() -> None:
    assert re.findall(r"^\| `((?:job|entry)\.\w+)` \|", TEXT, re.MULTILINE) == list(WEBHOOK_EVENTS)
    row = re.findall(r"^\| next try after \|(.*)\|$", TEXT, re.MULTILINE)[0]
    units = {"s": 1, "min": 60, "h": 3600}
    pauses = [float(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)", row)]
    assert tuple(pauses) == SCHEDULE_S == WebhookPolicy.of(Settings()).schedule_s
    assert f"{SCHEDULE_S[0]:g},{SCHEDULE_S[1]:g}" in TEXT
    for name in re.findall(r"`VLMIR_(\w+)", TEXT):
        assert name.lower() in Settings.model_fields
