"""POST /restore/batch at its limits: memory, time, a queue that is full or away, and what must not hold the loop up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.api import submit
from app.api.routes import batch as batch_routes
from app.errors import QueueUnavailableError
from app.jobs import idempotency
from app.jobs.connection import call
from app.jobs.keys import Keys
from tests.support.api import api_settings, running_api
from tests.support.batches import PHOTO, counted, fetcher
from tests.support.jobs import until
from tests.support.photo_host import PhotoHost, photo_host, response

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
KEY = {"Idempotency-Key": '"limits-1"'}


def form(count: int, photo: bytes = PHOTO) -> dict[str, Any]:
    return {"files": [("image", (f"{number}.png", photo)) for number in range(count)]}


@pytest.mark.parametrize("body", [form(2), {"json": {"entries": ["https://a.example/"] * 2}}])
async def test_batches_above_what_may_wait_are_told_to_come_again(
    redis_url: str, namespace: str, body: dict[str, Any]
) -> None:
    settings = api_settings(redis_url, namespace, max_waiting_entries=1)
    async with running_api(settings) as (client, services):
        answer = await client.post("/restore/batch", headers=KEY, **body)
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
        assert await call(services.queue._redis, "KEYS", Keys(namespace).image("*")) == []
        assert services.uploads.held_bytes == 0


@pytest.mark.parametrize("body", [form(2), {"json": {"entries": ["https://a.example:1/"] * 2}}])
async def test_a_batch_that_was_accepted_is_answered_although_it_cannot_be_looked_at(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    async def away(_batch_id: str) -> Any:
        raise QueueUnavailableError

    settings = api_settings(redis_url, namespace)
    async with running_api(settings, fetcher()) as (client, services):
        get = services.queue.batches.get
        monkeypatch.setattr(services.queue.batches, "get", away)
        answer = await client.post("/restore/batch", headers=KEY, **body)
        assert answer.status_code == 202, answer.text
        assert (answer.json()["total"], answer.json()["state"]) == (2, "running")
        assert counted(answer.json()) == {"waiting": 2}
        assert (await client.post("/restore/batch", headers=KEY, **body)).status_code == 503  # that one can come again
        monkeypatch.setattr(services.queue.batches, "get", get)
        assert (await client.get(answer.headers["location"])).json()["total"] == 2
        again = await client.post("/restore/batch", headers=KEY, **body)
        assert again.json()["id"] == answer.json()["id"]


async def test_batches_leave_memory_for_uploads_to_others(redis_url: str, namespace: str) -> None:
    settings = api_settings(redis_url, namespace, upload_memory_bytes=4_000_000)
    async with running_api(settings) as (client, services):
        with services.batch_uploads.share() as other_batch:
            other_batch.grow(1_900_000)
            refused = await client.post("/restore/batch", **form(2, b"x" * 100_000))
            assert (refused.status_code, refused.json()["code"]) == (503, "uploads_busy")
            single = await client.post("/restore", content=b"x" * 1_500_000)
            assert single.json()["code"] == "unsupported_format"  # it was read
        large = await client.post("/restore/batch", **form(2, b"x" * 1_600_000))
        assert (large.status_code, large.json()["code"]) == (413, "upload_too_large")
        assert services.uploads.held_bytes == services.batch_uploads.held_bytes == 0


@pytest.mark.parametrize("path", ["/restore", "/restore/batch"])
async def test_a_body_that_goes_on_and_on_is_given_up(redis_url: str, namespace: str, path: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.001)
            yield b" "

    settings = api_settings(redis_url, namespace, upload_timeout_s=0.05)
    async with running_api(settings) as (client, services):
        answer = await client.post(path, content=endless(), headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
        assert "0.05 s" in answer.json()["detail"]
        assert services.uploads.held_bytes == 0


async def test_texts_that_would_become_millions_of_values_are_refused(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        for value in (b"[]", b"{}", b"1"):
            body = b'{"entries": [%s]}' % b",".join([value] * 300_000)
            answer = await client.post("/restore/batch", content=body, headers=JSON)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
            assert "250,000 values" in answer.json()["detail"]


async def test_what_takes_long_runs_beside_the_loop(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, int] = {}

    def note(module: Any, name: str) -> None:
        plain = getattr(module, name)

        def noted(*args: Any) -> Any:
            seen[f"{module.__name__.rpartition('.')[2]}.{name}"] = threading.get_ident()
            return plain(*args)

        monkeypatch.setattr(module, name, noted)

    note(batch_routes, "parse_entries")
    note(batch_routes, "fingerprint")
    note(submit, "fingerprint")
    digest = batch_routes._digest
    digested_in: list[int] = []

    def noted_digest(file: Any) -> str:
        digested_in.append(threading.get_ident())
        return digest(file)

    monkeypatch.setattr(batch_routes, "_digest", noted_digest)
    async with running_api(api_settings(redis_url, namespace), fetcher()) as (client, _):
        await client.post("/restore/batch", json={"entries": ["https://a.example:1/"]}, headers=KEY)
        assert set(seen) == {"batch.parse_entries", "batch.fingerprint"}
        await client.post("/restore", content=PHOTO, headers={"Idempotency-Key": "2"})
        here = threading.get_ident()
        assert here not in seen.values()
        assert len(seen) == 3
        await client.post("/restore/batch", headers={"Idempotency-Key": "3"}, **form(2))
        assert len(digested_in) == 2
        assert here not in digested_in


async def test_a_key_is_held_for_as_long_as_its_request_takes(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "HOLD_MS", 200)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_path: str, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await go_on.wait()
        writer.write(response(PHOTO))

    async with (
        photo_host(slow) as host,
        running_api(api_settings(redis_url, namespace), fetcher()) as (client, services),
    ):
        renewed: list[Any] = []
        reserve = services.queue._scripts.reserve_key

        async def counted_reserve(*args: Any) -> Any:
            renewed.append(await reserve(*args))
            return renewed[-1]

        monkeypatch.setattr(services.queue._scripts, "reserve_key", counted_reserve)
        first = asyncio.create_task(client.post("/restore", json={"image_url": at(host)}, headers=KEY))
        await asked.wait()

        async def often() -> bool:
            return len(renewed) >= 8  # twice the time for which it is held at once

        await until(often)
        assert {word for word, _ in renewed} == {"ok"}
        meanwhile = await client.post("/restore", json={"image_url": at(host)}, headers=KEY)
        assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "idempotency_in_progress")
        go_on.set()
        accepted = await first
        again = await client.post("/restore", json={"image_url": at(host)}, headers=KEY)
        assert again.json()["id"] == accepted.json()["id"]


def at(host: PhotoHost) -> str:
    return f"http://photos.example:{host.port}/a.png"
