"""POST /restore/batch: many photos under one id, which become jobs little by little."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.api import feeder as feeding
from app.api.deps import Services
from app.fetch.fetcher import ImageFetcher
from app.jobs import batches as batch_store
from app.jobs.batches import BatchEntry, entry_job_id, new_batch_id
from app.jobs.job import RestoreOptions
from app.jobs.queue import JobQueue
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api, working
from tests.support.jobs import make_job, open_queue
from tests.support.photo_host import PhotoHost, loopback_policy, photo_host, resolving, response

pytestmark = pytest.mark.anyio
PHOTO = samples.png()


async def give(path: str, writer: asyncio.StreamWriter) -> None:
    """A host with good photos, missing ones and others."""
    if path.startswith("/missing"):
        writer.write(response(b"", "404 Gone"))
    elif path.startswith("/text"):
        writer.write(response(b"no photo at all"))
    else:
        writer.write(response(PHOTO))


def fetcher() -> ImageFetcher:
    return ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))


def url(host: PhotoHost, path: str) -> str:
    return f"http://photos.example:{host.port}/{path}"


async def until(client: httpx.AsyncClient, path: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Poll a batch until something holds of it."""
    deadline = asyncio.get_running_loop().time() + 20
    while True:
        batch: dict[str, Any] = (await client.get(path)).json()
        if holds(batch):
            return batch
        assert asyncio.get_running_loop().time() < deadline, batch
        await asyncio.sleep(0.02)


def is_done(batch: dict[str, Any]) -> bool:
    return bool(batch["state"] == "done")


def counted(batch: dict[str, Any]) -> dict[str, int]:
    return {state: count for state, count in batch["counts"].items() if count}


async def stored_photos(services: Services, batch: dict[str, Any]) -> int:
    queue = services.queue
    names = [queue._keys.image(entry_job_id(batch["id"], index)) for index in range(batch["total"])]
    return int(await queue._redis.exists(*names))


async def test_urls_become_jobs_and_what_is_wrong_with_one_harms_no_other(redis_url: str, namespace: str) -> None:
    async with (
        photo_host(give) as host,
        running_api(api_settings(redis_url, namespace), fetcher()) as (client, services),
    ):
        body = {
            "options": {"steps": 3, "quality": "best"},
            "entries": [
                url(host, "1.png"),
                {"image_url": url(host, "2.png"), "steps": 5, "kinds": ["rain"], "metadata": {"order": 2}},
                url(host, "missing.png"),
                url(host, "text.png"),
                "http://169.254.169.254/latest/meta-data/",
                {"image_url": url(host, "6.png"), "mask_url": url(host, "mask.png")},
            ],
        }
        answer = await client.post("/restore/batch?seed=9", json=body)
        assert answer.status_code == 202, answer.text
        batch = answer.json()
        assert answer.headers["location"] == batch["links"]["self"] == f"/batches/{batch['id']}"
        assert (batch["state"], batch["total"], sum(batch["counts"].values())) == ("running", 6, 6)
        async with working(services.queue):
            done = await until(client, batch["links"]["self"], is_done)
        assert counted(done) == {"refused": 3, "succeeded": 3}
        assert done["progress"] == 1
        assert [(item["index"], item["error"]["code"]) for item in done["errors"]] == [
            (2, "image_fetch_failed"),
            (3, "unsupported_format"),
            (4, "image_url_refused"),
        ]
        page = (await client.get(done["links"]["entries"] + "?limit=4")).json()
        assert [item["index"] for item in page["entries"]] == [0, 1, 2, 3]
        rest = (await client.get(page["links"]["next"])).json()
        assert [item["state"] for item in rest["entries"]] == ["refused", "succeeded"]
        assert rest["links"]["next"] is None
        first, second = [(await client.get(item["links"]["job"])).json() for item in page["entries"][:2]]
        assert (first["options"]["steps"], second["options"]["steps"]) == (3, 5)
        assert [job["options"]["seed"] for job in (first, second)] == [9, 9]
        assert [job["options"]["quality"] for job in (first, second)] == ["best", "best"]
        assert (first["metadata"], second["metadata"]) == (None, {"order": 2})
        assert second["options"]["kinds"] == ["rain"]
        assert {job["batch"] for job in (first, second)} == {batch["id"]}
        assert {job["priority"] for job in (first, second)} == {"batch"}
        assert (await client.get(first["links"]["result"])).status_code == 200


async def test_uploads_of_a_form_become_jobs(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        files = [("image", (f"{n}.png", samples.png(40 + n, 40))) for n in range(3)]
        files.insert(1, ("image", ("bad.png", b"no photo")))
        answer = await client.post("/restore/batch", files=files, data={"steps": "2", "metadata": '{"order": 1}'})
        assert answer.status_code == 202, answer.text
        assert services.uploads.held_bytes == 0
        async with working(services.queue):
            done = await until(client, answer.json()["links"]["self"], is_done)
        assert counted(done) == {"refused": 1, "succeeded": 3}
        assert [item["index"] for item in done["errors"]] == [1]
        entries = (await client.get(done["links"]["entries"])).json()["entries"]
        widths = [(await client.get(item["links"]["job"])).json()["input"]["width"] for item in entries if item["job"]]
        assert widths == [40, 41, 42]
        assert await stored_photos(services, done) == 0


async def test_only_so_many_jobs_wait_and_canceling_ends_all(redis_url: str, namespace: str) -> None:
    settings = api_settings(redis_url, namespace, batch_ahead=3)
    async with photo_host(give) as host, running_api(settings, fetcher()) as (client, services):
        body = {"entries": [url(host, f"{n}.png") for n in range(20)]}
        path = (await client.post("/restore/batch", json=body)).json()["links"]["self"]
        await until(client, path, lambda batch: batch["counts"]["queued"] == 3)
        running = (await services.queue.claim("w", 1, 1000))[0]
        batch = await until(client, path, lambda batch: batch["counts"]["queued"] == 3 and is_running(batch, 1))
        assert counted(batch) == {"waiting": 16, "queued": 3, "running": 1}
        assert len(host.paths) == 4  # photos wait where they are
        answer = (await client.delete(path)).json()
        assert answer["cancel_requested"] is True
        assert counted(answer) == {"canceled": 19, "running": 1}
        assert (await services.queue.renew(running)).cancel_requested
        await services.queue.canceled(running)
        done = await until(client, path, is_done)
        assert counted(done) == {"canceled": 20}
        assert await services.queue.batches.take(10) == []


def is_running(batch: dict[str, Any], count: int) -> bool:
    return bool(batch["counts"]["running"] == count)


async def test_canceling_deletes_stored_photos(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, batch_ahead=1)) as (client, services):
        files = [("image", (f"{n}.png", PHOTO)) for n in range(5)]
        path = (await client.post("/restore/batch", files=files)).json()["links"]["self"]
        batch = await until(client, path, lambda batch: batch["counts"]["queued"] == 1)
        assert await stored_photos(services, batch) == 5
        assert counted((await client.delete(path)).json()) == {"canceled": 5}
        assert await stored_photos(services, batch) == 0


@pytest.mark.parametrize("as_form", [False, True])
async def test_the_same_batch_under_a_key_is_one(redis_url: str, namespace: str, as_form: bool) -> None:
    headers = {"Idempotency-Key": '"b-1"'}

    def request(steps: int) -> dict[str, Any]:
        if as_form:
            files = [("image", ("1.png", PHOTO)), ("image", ("2.png", samples.png(9, 9)))]
            return {"files": files, "data": {"steps": str(steps)}, "headers": headers}
        return {"json": {"entries": ["https://a.example/1"], "options": {"steps": steps}}, "headers": headers}

    async def unknown(_host: str, _port: int) -> list[Any]:
        raise OSError

    nowhere = ImageFetcher(loopback_policy(), unknown)
    async with running_api(api_settings(redis_url, namespace), nowhere) as (client, _):
        first = await client.post("/restore/batch", **request(2))
        again = await client.post("/restore/batch", **request(2))
        assert (first.status_code, again.status_code) == (202, 202)
        assert again.json()["id"] == first.json()["id"]
        assert (again.headers.get("idempotent-replayed"), first.headers.get("idempotent-replayed")) == ("true", None)
        other = await client.post("/restore/batch", **request(3))
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        single = await client.post("/restore", content=PHOTO, headers=headers)
        assert single.json()["code"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, None),
        ({"entries": []}, None),
        ({"entries": {}}, None),
        ({"entries": [7]}, None),
        ({"entries": [{}]}, None),
        ({"entries": ["https://a.example/"] * 4}, None),
        ({"entries": ["https://a.example/"], "more": 1}, None),
        ({"entries": ["https://a.example/"], "options": []}, None),
        ({"entries": ["https://a.example/"], "options": {"steps": 0}}, "steps"),
        ({"entries": ["https://a.example/"], "options": {"priority": "interactive"}}, "priority"),
        ({"entries": ["https://a.example/", {"image_url": "https://a.example/", "steps": 0}]}, "entries[1].steps"),
        ({"entries": [{"image_url": "https://a.example/", "model": "none"}]}, "unknown_model"),
    ],
)
async def test_batches_that_are_none_are_refused_as_a_whole(
    redis_url: str, namespace: str, body: dict[str, Any], field: str | None
) -> None:
    async with running_api(api_settings(redis_url, namespace, max_batch_entries=3)) as (client, services):
        answer = await client.post("/restore/batch", json=body)
        problem = answer.json()
        if field is None:
            assert (answer.status_code, problem["code"]) == (400, "invalid_request")
        elif field == "unknown_model":
            assert (answer.status_code, problem["code"]) == (422, field)
        else:
            assert (answer.status_code, problem["code"]) == (422, "invalid_option")
            assert [item["field"] for item in problem["errors"]] == [field]
        assert await services.queue.batches.take(10) == []


async def test_forms_that_are_no_batches_are_refused(redis_url: str, namespace: str) -> None:
    settings = api_settings(redis_url, namespace, max_batch_entries=2, upload_memory_bytes=3_000_000)
    async with running_api(settings) as (client, services):
        photo = ("a.png", PHOTO)
        for files in ([("photo", photo)], [("image", photo)] * 3, [("image", photo), ("mask", photo)]):
            answer = await client.post("/restore/batch", files=files)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), answer.text
        large = await client.post("/restore/batch", files=[("image", ("a.png", b"x" * 2_500_000))] * 2)
        assert (large.status_code, large.json()["code"]) == (413, "upload_too_large")
        bare = await client.post("/restore/batch", content=PHOTO, headers={"Content-Type": "image/png"})
        assert (bare.status_code, bare.json()["code"]) == (415, "unsupported_media_type")
        assert services.uploads.held_bytes == 0


async def test_batches_of_others_and_unknown_ones_are_not_found(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        theirs = await services.queue.batches.create(
            new_batch_id(), "others", 1, [BatchEntry(RestoreOptions(), "https://a.example/")]
        )
        for batch_id in (theirs, "0" * 32, "x", "..%2f"):
            for method, path in (("GET", ""), ("GET", "/entries"), ("DELETE", "")):
                answer = await client.request(method, f"/batches/{batch_id}{path}")
                assert answer.status_code == 404
                assert answer.json()["code"] in ("batch_not_found", "not_found")
        assert not (await services.queue.batches.get(theirs)).cancel_requested


async def test_a_host_that_fails_for_a_while_is_tried_again(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "_RETRY_S", 0.01)
    asked: dict[str, int] = {}

    async def stumble(path: str, writer: asyncio.StreamWriter) -> None:
        asked[path] = asked.get(path, 0) + 1
        is_well = path == "/recovers" and asked[path] == 3
        writer.write(response(PHOTO) if is_well else response(b"", "503 Busy"))

    async with photo_host(stumble) as host, running_api(api_settings(redis_url, namespace), fetcher()) as (client, _):
        body = {"entries": [url(host, "recovers"), url(host, "never")]}
        path = (await client.post("/restore/batch", json=body)).json()["links"]["self"]
        batch = await until(client, path, lambda batch: batch["counts"]["waiting"] == 0)
        assert counted(batch) == {"queued": 1, "refused": 1}
        assert asked == {"/recovers": 3, "/never": 3}


async def test_a_full_queue_is_waited_for(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "_NO_ROOM_S", 0.01)
    settings = api_settings(redis_url, namespace, max_queued=1)
    async with photo_host(give) as host, running_api(settings, fetcher()) as (client, services):
        assert (await client.post("/restore", content=PHOTO)).status_code == 202
        body = {"entries": [url(host, f"{n}") for n in range(4)]}
        path = (await client.post("/restore/batch", json=body)).json()["links"]["self"]
        deadline = asyncio.get_running_loop().time() + 20
        while len(host.paths) < 20:  # far more tries than an entry has of its own
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        assert counted((await client.get(path)).json()) == {"waiting": 4}
        async with working(services.queue):
            assert counted(await until(client, path, is_done)) == {"succeeded": 4}


async def test_entries_whose_feeder_died_are_given_out_again_and_become_one_job(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_store, "LEASE_MS", 50)
    async with open_queue(redis_url, namespace) as queue:
        batch_id = await queue.batches.create(
            new_batch_id(), "default", 1, [BatchEntry(RestoreOptions(), "https://a.example/")]
        )
        first = await taken_once(queue)
        second = await taken_once(queue)  # the first one was never heard of again
        assert (first.batch_id, first.index, first.tries) == (batch_id, 0, 1)
        assert (second.job_id, second.tries) == (first.job_id, 2)
        job = make_entry_job(first.job_id, batch_id)
        await queue.submit(job, PHOTO, entry=0)
        await queue.submit(job, PHOTO, entry=0)  # it was alive after all
        assert await queue.depth() == {"interactive": 0, "batch": 1}
        assert await queue.batches.take(10) == []
        assert [entry.state for entry in (await queue.batches.get(batch_id)).entries] == ["queued"]


async def test_an_entry_that_ends_every_feeder_is_given_up(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        queue = services.queue
        batch_id = new_batch_id()
        await queue._redis.hset(queue._keys.batch(batch_id), "tries:0", feeding.MOST_TRIES)
        await queue._redis.delete(queue._keys.batch(batch_id))
        await queue.batches.create(batch_id, "default", 1, [BatchEntry(RestoreOptions(), "https://a.example/")])
        await queue._redis.hset(queue._keys.batch(batch_id), "tries:0", feeding.MOST_TRIES)
        done = await until(client, f"/batches/{batch_id}", is_done)
        assert done["errors"][0]["error"]["code"] == "internal_error"


async def test_an_entry_canceled_while_it_is_fetched_becomes_no_job(redis_url: str, namespace: str) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_path: str, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await go_on.wait()
        writer.write(response(PHOTO))

    async with (
        photo_host(slow) as host,
        running_api(api_settings(redis_url, namespace), fetcher()) as (client, services),
    ):
        path = (await client.post("/restore/batch", json={"entries": [url(host, "a")]})).json()["links"]["self"]
        await asked.wait()
        assert counted((await client.delete(path)).json()) == {"canceled": 1}
        go_on.set()
        deadline = asyncio.get_running_loop().time() + 10
        feeder = client._transport.app.state.feeder  # type: ignore[attr-defined]
        while feeder._tasks:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        batch = (await client.get(path)).json()
        assert counted(batch) == {"canceled": 1}
        assert await services.queue.depth() == {"interactive": 0, "batch": 0}
        assert await stored_photos(services, batch) == 0


async def test_a_process_that_stops_hands_its_entries_to_the_next(redis_url: str, namespace: str) -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def hang(_path: str, _writer: asyncio.StreamWriter) -> None:
        asked.set()
        await never.wait()

    settings = api_settings(redis_url, namespace)
    async with photo_host(hang) as host:
        async with running_api(settings, fetcher()) as (client, _):
            path = (await client.post("/restore/batch", json={"entries": [url(host, "a")]})).json()["links"]["self"]
            await asked.wait()
        host._answer = give
        async with running_api(settings, fetcher()) as (client, services), working(services.queue):
            assert counted(await until(client, path, is_done)) == {"succeeded": 1}
        never.set()


async def test_a_thousand_entries_are_accepted_at_once_and_listed(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, batch_ahead=1), fetcher()) as (client, _):
        entries = [
            {"image_url": f"http://a.example:1/{n}", "metadata": {"n": n, "filler": "x" * 2000}} for n in range(1000)
        ]
        answer = await client.post("/restore/batch", json={"entries": entries})
        assert answer.status_code == 202
        assert answer.json()["total"] == 1000
        listed = (await client.get(answer.json()["links"]["entries"] + "?limit=1000")).json()
        assert [item["index"] for item in listed["entries"]] == list(range(1000))
        too_many = json.dumps({"entries": entries + entries[:1]})
        refused = await client.post("/restore/batch", content=too_many, headers={"Content-Type": "application/json"})
        assert refused.status_code == 400
        assert (await client.delete(answer.json()["links"]["cancel"])).json()["counts"]["waiting"] == 0


async def taken_once(queue: JobQueue) -> batch_store.TakenEntry:
    deadline = asyncio.get_running_loop().time() + 10
    while not (taken := await queue.batches.take(10)):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
    return taken[0]


def make_entry_job(job_id: str, batch_id: str) -> Any:
    from dataclasses import replace

    return replace(make_job("batch"), id=job_id, batch_id=batch_id)
