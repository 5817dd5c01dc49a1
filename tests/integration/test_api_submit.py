"""Ways to submit a photo: by URL, under an Idempotency-Key, with priority, kinds and metadata."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from app.fetch.fetcher import FetchPolicy, ImageFetcher
from app.jobs.queue import Claim, JobQueue
from tests.support import sample_photos as samples
from tests.support.api import api_settings, invert, running_api, until_state, working
from tests.support.photo_host import (
    LOOPBACK,
    PhotoHost,
    giving,
    loopback_policy,
    make_certificate,
    photo_host,
    resolving,
    response,
)

pytestmark = pytest.mark.anyio


def loopback_fetcher(**more: float) -> ImageFetcher:
    return ImageFetcher(loopback_policy(**more), resolving(["127.0.0.1"]))


def url(host: PhotoHost, path: str = "/a.png", scheme: str = "http") -> str:
    return f"{scheme}://photos.example:{host.port}{path}"


async def test_a_photo_by_url_is_restored_like_any_other(redis_url: str, namespace: str, tmp_path: Path) -> None:
    photo = samples.png()
    server, client_tls = make_certificate(tmp_path, "photos.example")
    fetcher = ImageFetcher(FetchPolicy(allowed_networks=LOOPBACK), resolving(["127.0.0.1"]), client_tls)
    async with (
        photo_host(giving(photo), tls=server) as host,
        running_api(api_settings(redis_url, namespace), fetcher) as (client, services),
    ):
        body = {"image_url": url(host, scheme="https"), "steps": 3, "kinds": ["rain"], "caption": None}
        answer = await client.post("/restore", json=body)
        assert answer.status_code == 202, answer.text
        job = answer.json()
        assert job["input"] == {"media_type": "image/png", "width": 48, "height": 32, "bytes": len(photo)}
        assert (job["options"]["steps"], job["options"]["kinds"]) == (3, ["rain"])
        assert services.uploads.held_bytes == 0
        async with working(services.queue):
            await until_state(client, job["links"]["self"], "succeeded")
    assert host.paths == ["/a.png"]


async def test_a_mask_by_url_comes_with_the_photo(redis_url: str, namespace: str) -> None:
    photo, mask = samples.png(), samples.png(mode="L")
    claims: list[Claim] = []

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(response(mask if path == "/mask" else photo))

    def keep(claim: Claim) -> bytes:
        claims.append(claim)
        return invert(claim)

    async with (
        photo_host(answer) as host,
        running_api(api_settings(redis_url, namespace), loopback_fetcher()) as (client, services),
        working(services.queue, keep),
    ):
        body = {"image_url": url(host), "mask_url": url(host, "/mask")}
        done = await client.post("/restore", json=body, headers={"Prefer": "wait=20"})
        assert done.status_code == 200, done.text
    assert (claims[0].image, claims[0].mask) == (photo, mask)


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (response(b"", "404 Gone"), 422, "image_fetch_failed"),
        (response(b"<html>no photo</html>", Content_Type="image/png"), 415, "unsupported_format"),
        (response(samples.png()[:200], Content_Type="image/png"), 422, "invalid_image"),
        (response(b"", Content_Type="image/png"), 422, "empty_upload"),
        (response(b"", "302 Found", Location="http://169.254.169.254/"), 422, "image_url_refused"),
        (response(b"x" * 20_001), 413, "upload_too_large"),
    ],
)
async def test_what_is_wrong_with_a_url_is_told_at_once(
    redis_url: str, namespace: str, answer: bytes, status: int, code: str
) -> None:
    async def give(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    settings = api_settings(redis_url, namespace, max_upload_bytes=20_000)
    async with photo_host(give) as host, running_api(settings, loopback_fetcher()) as (client, services):
        refused = await client.post("/restore", json={"image_url": url(host)})
        assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
        assert services.uploads.held_bytes == 0
        assert sum((await services.queue.depth()).values()) == 0


async def test_without_leave_neither_http_nor_this_machine_is_fetched_from(redis_url: str, namespace: str) -> None:
    async with photo_host(giving(samples.png())) as host:
        async with running_api(api_settings(redis_url, namespace)) as (client, _):
            for address in (f"http://127.0.0.1:{host.port}/", f"https://127.0.0.1:{host.port}/"):
                refused = await client.post("/restore", json={"image_url": address})
                assert (refused.status_code, refused.json()["code"]) == (422, "image_url_refused")
        settings = api_settings(redis_url, namespace, fetch_http=True, fetch_networks="10.0.0.0/8")
        async with running_api(settings) as (client, _):
            refused = await client.post("/restore", json={"image_url": f"http://127.0.0.1:{host.port}/"})
            assert refused.json()["code"] == "image_url_refused"
    assert host.paths == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"{}", b'{"image_url": 7}', b'{"image_url": ""}', b'{"image_url": "x", "steps": NaN}',
     b'{"image_url": "https://a.example/", "mask_url": 7}', b"\xff", b"[" * 50_000, b'{"a": "' + b"x" * 70_000 + b'"}'],
)  # fmt: skip
async def test_bodies_that_are_no_reference_are_refused(redis_url: str, namespace: str, body: bytes) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        answer = await client.post("/restore", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 413), answer.text
        assert answer.json()["code"] in ("invalid_request", "upload_too_large")


async def test_members_that_are_no_options_are_refused_by_name(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        body = {"image_url": "https://photos.example/", "qualty": "best", "steps": 1000}
        answer = await client.post("/restore", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")
        assert {item["field"] for item in answer.json()["errors"]} == {"qualty", "steps"}


async def test_priority_metadata_and_kinds_stay_with_the_job(redis_url: str, namespace: str) -> None:
    mine = {"order": 7, "tags": ["é", None]}
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        files = {"image": ("a.png", samples.png())}
        data = {"metadata": json.dumps(mine), "priority": "batch", "kinds": ""}
        job = (await client.post("/restore", files=files, data=data)).json()
        assert (job["priority"], job["metadata"], job["options"]["kinds"]) == ("batch", mine, [])
        again = (await client.get(job["links"]["self"])).json()
        assert (again["priority"], again["metadata"], again["options"]["kinds"]) == ("batch", mine, [])
        assert await services.queue.depth() == {"interactive": 0, "batch": 1}
        claim = (await services.queue.claim("w", 1, 1000))[0]
        assert claim.job.options.kinds == ()
        plain = (await client.post("/restore", content=samples.png())).json()
        assert (plain["priority"], plain["metadata"], plain["options"]["kinds"]) == ("interactive", None, None)


async def test_preferences_that_were_honoured_are_named(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        for prefer, applied in (("respond-async", "respond-async"), ("respond-async, wait=0", "respond-async, wait=0"),
                                ("wait=0", "wait=0"), ("handling=lenient", None)):  # fmt: skip
            answer = await client.post("/restore", content=samples.png(), headers={"Prefer": prefer})
            assert answer.status_code == 202
            assert answer.headers.get("preference-applied") == applied


KEY = {"Idempotency-Key": '"key-1"'}


async def depth(queue: JobQueue) -> int:
    return sum((await queue.depth()).values())


async def test_the_same_request_under_a_key_is_the_same_job(redis_url: str, namespace: str) -> None:
    photo = samples.png()
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        first = await client.post("/restore?steps=2", content=photo, headers=KEY)
        again = await client.post("/restore", files={"image": ("a.png", photo)}, data={"steps": "2"}, headers=KEY)
        bare = await client.post("/restore?steps=2", content=photo, headers={"Idempotency-Key": "key-1"})
        for answer in (again, bare):
            assert answer.status_code == first.status_code == 202
            assert answer.json() == first.json()
            assert answer.headers["location"] == first.headers["location"]
            assert answer.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        assert await depth(services.queue) == 1
        async with working(services.queue):
            waited = await client.post("/restore?steps=2", content=photo, headers=KEY | {"Prefer": "wait=20"})
        assert (waited.status_code, waited.headers["x-job-id"]) == (200, first.json()["id"])
        assert (await client.post("/restore?steps=2", content=photo, headers=KEY)).json()["state"] == "succeeded"
        assert (await client.post("/restore?steps=2", content=photo)).json()["id"] != first.json()["id"]


@pytest.mark.parametrize("change", [{"params": {"steps": "3"}}, {"content": samples.png(50, 50)}])
async def test_a_key_with_another_request_is_refused(redis_url: str, namespace: str, change: dict[str, Any]) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        usual: dict[str, Any] = {"params": {"steps": "2"}, "content": samples.png(), "headers": KEY}
        assert (await client.post("/restore", **usual)).status_code == 202
        answer = await client.post("/restore", **(usual | change))
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
        assert await depth(services.queue) == 1


async def test_a_repetition_meanwhile_is_told_to_come_again(redis_url: str, namespace: str) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_path: str, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await go_on.wait()
        writer.write(response(samples.png()))

    async with (
        photo_host(slow) as host,
        running_api(api_settings(redis_url, namespace), loopback_fetcher()) as (client, services),
    ):
        body = {"image_url": url(host)}
        first = asyncio.create_task(client.post("/restore", json=body, headers=KEY))
        await asked.wait()
        meanwhile = await client.post("/restore", json=body, headers=KEY)
        assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "idempotency_in_progress")
        assert meanwhile.json()["retryable"] is True
        assert int(meanwhile.headers["retry-after"]) >= 1
        other = await client.post("/restore", json=body | {"steps": 3}, headers=KEY)
        assert other.json()["code"] == "idempotency_key_reused"
        go_on.set()
        accepted = await first
        again = await client.post("/restore", json=body, headers=KEY)
        assert again.json()["id"] == accepted.json()["id"]
        assert await depth(services.queue) == 1
    assert host.paths == ["/a.png"]


async def test_many_at_once_under_one_key_make_one_job(redis_url: str, namespace: str) -> None:
    photo = samples.png()
    async with running_api(api_settings(redis_url, namespace)) as (client, services):

        async def insist() -> str:
            while True:
                answer = await client.post("/restore", content=photo, headers=KEY)
                if answer.status_code == 202:
                    return str(answer.json()["id"])
                assert answer.json()["code"] == "idempotency_in_progress"

        assert len(set(await asyncio.gather(*(insist() for _ in range(12))))) == 1
        assert await depth(services.queue) == 1


async def test_a_refused_request_frees_its_key(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, max_queued=1)) as (client, services):
        refused = await client.post("/restore", content=b"no photo", headers=KEY)
        assert refused.status_code == 415
        assert (await client.post("/restore", content=samples.png(), headers=KEY)).status_code == 202
        full = await client.post("/restore", content=samples.png(), headers={"Idempotency-Key": "other"})
        assert full.json()["code"] == "queue_full"
        async with working(services.queue):
            for _ in range(500):
                if await depth(services.queue) == 0:
                    break
                await asyncio.sleep(0.01)
        later = await client.post("/restore", content=samples.png(), headers={"Idempotency-Key": "other"})
        assert later.status_code == 202
        assert "idempotent-replayed" not in later.headers


async def test_keys_are_forgotten_after_their_time_and_belong_to_one_tenant(redis_url: str, namespace: str) -> None:
    settings = api_settings(redis_url, namespace, idempotency_ttl_s=1)
    async with running_api(settings) as (client, services):
        first = await client.post("/restore", content=samples.png(), headers=KEY)
        seen = {first.json()["id"]}
        for _ in range(1000):
            answer = await client.post("/restore", content=samples.png(), headers=KEY)
            seen.add(answer.json()["id"])
            if len(seen) > 1:
                break
            await asyncio.sleep(0.01)
        assert len(seen) == 2
        assert await depth(services.queue) == 2


@pytest.mark.parametrize("value", ['""', '"a', "a b", "x" * 256])
async def test_keys_that_are_none_are_refused(redis_url: str, namespace: str, value: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        answer = await client.post("/restore", content=samples.png(), headers={"Idempotency-Key": value})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
        assert await depth(services.queue) == 0


async def test_a_key_whose_job_is_no_longer_on_record_does_not_start_it_again(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        job = (await client.post("/restore", content=samples.png(), headers=KEY)).json()
        keys = services.queue._keys
        await services.queue._redis.delete(keys.job(job["id"]))
        answer = await client.post("/restore", content=samples.png(), headers=KEY)
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
