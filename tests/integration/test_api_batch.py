"""POST /restore/batch: many photos under one id, which become jobs little by little."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.fetch.fetcher import ImageFetcher
from app.jobs.batch import BatchEntry, new_batch_id
from app.jobs.job import RestoreOptions
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api, working
from tests.support.batches import PHOTO, counted, fetcher, give, is_done, stored_photos, until_batch, url
from tests.support.photo_host import loopback_policy, photo_host

pytestmark = pytest.mark.anyio


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
            done = await until_batch(client, batch["links"]["self"], is_done)
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
            done = await until_batch(client, answer.json()["links"]["self"], is_done)
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
        await until_batch(client, path, lambda batch: batch["counts"]["queued"] == 3)
        running = (await services.queue.claim("w", 1, 1000))[0]
        batch = await until_batch(client, path, lambda batch: batch["counts"]["queued"] == 3 and is_running(batch, 1))
        assert counted(batch) == {"waiting": 16, "queued": 3, "running": 1}
        assert len(host.paths) == 4  # photos wait where they are
        answer = (await client.delete(path)).json()
        assert answer["cancel_requested"] is True
        assert counted(answer) == {"canceled": 19, "running": 1}
        assert (await services.queue.renew(running)).cancel_requested
        await services.queue.canceled(running)
        done = await until_batch(client, path, is_done)
        assert counted(done) == {"canceled": 20}
        assert await services.queue.batches.take(10) == []


def is_running(batch: dict[str, Any], count: int) -> bool:
    return bool(batch["counts"]["running"] == count)


async def test_canceling_deletes_stored_photos(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, batch_ahead=1)) as (client, services):
        files = [("image", (f"{n}.png", PHOTO)) for n in range(5)]
        path = (await client.post("/restore/batch", files=files)).json()["links"]["self"]
        batch = await until_batch(client, path, lambda batch: batch["counts"]["queued"] == 1)
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
        theirs, _ = await services.queue.batches.create(
            new_batch_id(), "others", 1, [BatchEntry(RestoreOptions(), "https://a.example/")]
        )
        for batch_id in (theirs, "0" * 32, "x", "..%2f"):
            for method, path in (("GET", ""), ("GET", "/entries"), ("DELETE", "")):
                answer = await client.request(method, f"/batches/{batch_id}{path}")
                assert answer.status_code == 404
                assert answer.json()["code"] in ("batch_not_found", "not_found")
        assert not (await services.queue.batches.get(theirs)).cancel_requested


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
