"""The API with its photos in a real S3 server on loopback, and in a folder."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.jobs.connection import call, connect
from app.jobs.keys import Keys
from app.storage.errors import StorageUnavailableError
from app.storage.objects import ObjectStore
from app.storage.urls import StoragePlace
from tests.support.api import api_settings, until_state, working
from tests.support.object_store import BUCKET, S3Server
from tests.support.sample_photos import png
from tests.support.server import LiveApi, live_api

pytestmark = pytest.mark.anyio

RESULT = bytes(range(256)) * 9000  # above the size of a part


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = S3Server(port)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    server.close()


@pytest.fixture
def bucket(s3: S3Server) -> ObjectStore:
    """The whole bucket, as its owner sees it."""
    return ObjectStore.at(StoragePlace("s3", BUCKET))


async def start(redis_url: str, namespace: str, **settings: Any) -> AsyncIterator[LiveApi]:
    async with live_api(api_settings(redis_url, namespace, **settings)) as live:
        yield live


@pytest.fixture
async def live(s3: S3Server, redis_url: str, namespace: str) -> AsyncIterator[LiveApi]:
    settings = {
        "storage": f"s3://{BUCKET}/vlmir",
        "input_prefixes": f"s3://{BUCKET}/in, s3://{BUCKET}/of/{{tenant}}/, s3://absent/",
        "output_prefixes": f"s3://{BUCKET}/out/, s3://absent",
        "max_upload_bytes": 100_000,
    }
    async for api in start(redis_url, namespace, **settings):
        yield api


async def restored(live: LiveApi, result: bytes = RESULT, **fields: Any) -> dict[str, Any]:
    """Submits a photo, by URL or as it is, and gives the job once it has ended."""
    content = {"json": fields} if "image_url" in fields else {"content": png(), "params": fields}
    async with working(live.services.queue, lambda claim: result):
        answer = await live.client.post("/restore", **content)
        assert answer.status_code == 202, answer.text
        return await until_state(live.client, answer.headers["location"], "succeeded", "failed")


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_results_come_from_the_store_as_they_come_from_redis(
    live: LiveApi, bucket: ObjectStore, redis_url: str, namespace: str
) -> None:
    job = await restored(live)
    name = f"vlmir/{namespace}/result/{job['id']}-1"
    assert await bucket.size(name) == len(RESULT)
    redis = connect(redis_url)
    assert await call(redis, "EXISTS", Keys(namespace).result(job["id"], 1), Keys(namespace).image(job["id"])) == 0
    await redis.aclose()

    path = job["links"]["result"]
    whole = await live.client.get(path)
    assert (whole.status_code, whole.content) == (200, RESULT)
    assert whole.headers["content-type"] == "image/png"
    assert whole.headers["content-length"] == str(len(RESULT))
    tag = {"etag": whole.headers["etag"]}
    part = await live.client.get(path, headers={"range": "bytes=1048000-1049000", "if-range": tag["etag"]})
    assert (part.status_code, part.content) == (206, RESULT[1048000:1049001])
    assert part.headers["content-range"] == f"bytes 1048000-1049000/{len(RESULT)}"
    assert (await live.client.get(path, headers={"range": "bytes=-7"})).content == RESULT[-7:]
    assert (await live.client.get(path, headers={"range": "bytes=99999999-"})).status_code == 416
    assert (await live.client.get(path, headers={"if-none-match": tag["etag"]})).status_code == 304
    head = await live.client.head(path)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(RESULT)))


async def test_links_to_the_store_are_good_without_the_service(live: LiveApi) -> None:
    job = await restored(live)
    link = job["links"]["result_presigned"]
    async with httpx.AsyncClient() as stranger:
        answer = await stranger.get(link)
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, RESULT, "image/png")
        sent = await live.client.get(job["links"]["result"], params={"redirect": "true"})
        assert sent.status_code == 307
        assert sent.headers["cache-control"] == "no-store"
        assert (await stranger.get(sent.headers["location"])).content == RESULT
    assert "X-Amz-Expires=900" in link
    listed = (await live.client.get("/jobs")).json()["jobs"]
    assert [item["links"]["result_presigned"] for item in listed] == [None]
    assert code(await live.client.get(job["links"]["result"], params={"redirect": "maybe"})) == (422, "invalid_option")


async def test_links_end_with_the_result_and_can_be_turned_off(s3: S3Server, redis_url: str, namespace: str) -> None:
    async for live in start(redis_url, namespace, storage=f"s3://{BUCKET}", result_ttl_s=60):
        job = await restored(live)
        seconds = int(httpx.URL(job["links"]["result_presigned"]).params["X-Amz-Expires"])
        assert 30 < seconds <= 60
    async for live in start(redis_url, namespace, storage=f"s3://{BUCKET}", presign_s=0):
        seen = (await live.client.get(job["links"]["self"])).json()
        assert seen["links"]["result_presigned"] is None
        assert (await live.client.get(job["links"]["result"], params={"redirect": "true"})).content == RESULT


async def test_purging_deletes_the_objects(live: LiveApi, bucket: ObjectStore, namespace: str) -> None:
    job = await restored(live)
    link, name = job["links"]["result_presigned"], f"vlmir/{namespace}/result/{job['id']}-1"
    assert await bucket.size(name)
    answer = await live.client.delete(job["links"]["self"], params={"purge": "true"})
    assert answer.status_code == 204
    assert [
        await bucket.size(f"vlmir/{namespace}/{key}") for key in (f"result/{job['id']}-1", f"image/{job['id']}")
    ] == [None] * 2
    async with httpx.AsyncClient() as stranger:
        assert (await stranger.get(link)).status_code == 404


async def test_photos_are_read_from_allowed_buckets(live: LiveApi, bucket: ObjectStore) -> None:
    photo = png()
    for key in ("in/a b/größe%20.png", "of/default/x.png"):
        await bucket.put(key, photo)
        job = await restored(live, image_url=f"s3://{BUCKET}/{key}", steps=3)
        assert (job["state"], job["options"]["steps"]) == ("succeeded", 3)
        assert job["input"]["bytes"] == len(photo)


async def test_nothing_else_is_read(live: LiveApi, bucket: ObjectStore, namespace: str) -> None:
    job = await restored(live)
    for key in ("internal/a.png", "secret.png", "of/other/x.png"):
        await bucket.put(key, png())
    for url in (
        f"s3://{BUCKET}/vlmir/{namespace}/result/{job['id']}-1",
        f"s3://{BUCKET}/internal/a.png",
        f"s3://{BUCKET}/secret.png",
        f"s3://{BUCKET}/in/../secret.png",
        f"s3://{BUCKET}/in/%2e%2e/../secret.png",
        f"s3://{BUCKET}/of/other/x.png",
        f"s3://{BUCKET}/in/",
        f"s3://{BUCKET}",
        "s3://other/in/a.png",
        f"gs://{BUCKET}/in/a.png",
        f"S3://{BUCKET}/in/a.png",
        "file:///etc/passwd",
    ):
        answer = await live.client.post("/restore", json={"image_url": url})
        assert code(answer) == (422, "image_url_refused"), url
        masked = await live.client.post("/restore", json={"image_url": f"s3://{BUCKET}/in/m.png", "mask_url": url})
        assert masked.status_code == 422, url


async def test_what_a_bucket_does_not_give_is_told(live: LiveApi, bucket: ObjectStore) -> None:
    answer = await live.client.post("/restore", json={"image_url": f"s3://{BUCKET}/in/nothing.png"})
    assert code(answer) == (422, "image_fetch_failed")
    assert answer.json()["retryable"] is False
    assert code(await live.client.post("/restore", json={"image_url": "s3://absent/a.png"})) == (
        422,
        "image_fetch_failed",
    )
    await bucket.put("in/large.png", b"x" * 100_001)
    answer = await live.client.post("/restore", json={"image_url": f"s3://{BUCKET}/in/large.png"})
    assert code(answer) == (413, "upload_too_large")
    await bucket.put("in/text.png", b"no photo")
    answer = await live.client.post("/restore", json={"image_url": f"s3://{BUCKET}/in/text.png"})
    assert code(answer) == (415, "unsupported_format")


async def test_batches_of_objects_go_into_a_bucket(live: LiveApi, bucket: ObjectStore) -> None:
    for name in ("1", "2"):
        await bucket.put(f"in/{name}.png", png())
    entries = [f"s3://{BUCKET}/in/{name}.png" for name in ("1", "2", "nothing")]
    options = {"output_url": f"s3://{BUCKET}/out/batch/", "format": "jpeg"}
    async with working(live.services.queue):
        answer = await live.client.post("/restore/batch", json={"entries": entries, "options": options})
        assert answer.status_code == 202, answer.text
        batch = await until_state(live.client, answer.headers["location"], "ended", "succeeded", "failed", "done")
    assert batch["counts"]["succeeded"] == 2
    assert batch["errors"][0]["error"]["code"] == "image_fetch_failed"
    rows = (await live.client.get(batch["links"]["entries"])).json()["entries"]
    for row in rows[:2]:
        result = await live.client.get(f"{row['links']['job']}/result")
        job_id = row["links"]["job"].rpartition("/")[2]
        assert await bucket.get(f"out/batch/{job_id}.jpg") == result.content


async def test_results_are_written_where_callers_want_them(live: LiveApi, bucket: ObjectStore) -> None:
    job = await restored(live, b"one", output_url=f"s3://{BUCKET}/out/here.png")
    assert job["options"]["output_url"] == f"s3://{BUCKET}/out/here.png"
    assert await bucket.get("out/here.png") == b"one"
    again = await restored(live, b"two", output_url=f"s3://{BUCKET}/out/")
    assert await bucket.get(f"out/{again['id']}.png") == b"two"
    assert (await live.client.get(again["links"]["result"])).content == b"two"


async def test_results_are_written_nowhere_else(live: LiveApi) -> None:
    for url in (
        f"s3://{BUCKET}/outside/a.png",
        f"s3://{BUCKET}/vlmir/result/a",
        f"s3://{BUCKET}/in/a.png",
        f"s3://{BUCKET}/out/../in/a.png",
        f"s3://{BUCKET}/out",
        "s3://other/out/a.png",
        "https://photos.example/out/a.png",
        "file:///tmp/a.png",
        "out/a.png",
    ):
        answer = await live.client.post("/restore", content=png(), params={"output_url": url})
        assert code(answer) == (422, "output_url_refused"), url
        batch = {"entries": [{"image_url": "https://photos.example/1.png", "output_url": url}]}
        assert code(await live.client.post("/restore/batch", json=batch)) == (422, "output_url_refused"), url


async def test_results_of_a_batch_do_not_replace_each_other(live: LiveApi) -> None:
    entries = ["https://photos.example/1.png", "https://photos.example/2.png"]
    options = {"output_url": f"s3://{BUCKET}/out/a.png"}
    answer = await live.client.post("/restore/batch", json={"entries": entries, "options": options})
    assert code(answer) == (422, "invalid_option")
    assert answer.json()["errors"][0]["field"] == "entries[1].output_url"


async def test_a_store_that_is_away_is_no_fault_of_the_caller(live: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await restored(live)

    async def away(*_: object) -> None:
        raise StorageUnavailableError("An object cannot be read; try again later.")

    for name in ("get", "put", "size", "part"):
        monkeypatch.setattr(ObjectStore, name, away)
    answer = await live.client.get(job["links"]["result"])
    assert code(answer) == (503, "storage_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    answer = await live.client.post("/restore", content=png())
    assert code(answer) == (503, "storage_unavailable")
    seen = await live.client.get(job["links"]["self"])
    assert (seen.status_code, seen.json()["links"]["result_presigned"]) == (200, None)


async def test_a_folder_serves_likewise(redis_url: str, namespace: str, tmp_path: Path) -> None:
    async for live in start(redis_url, namespace, storage=f"file://{tmp_path}/photos"):
        job = await restored(live)
        assert (await live.client.get(job["links"]["result"])).content == RESULT
        part = await live.client.get(job["links"]["result"], headers={"range": "bytes=5-9"})
        assert (part.status_code, part.content) == (206, RESULT[5:10])
        assert job["links"]["result_presigned"] is None
        assert (await live.client.get(job["links"]["result"], params={"redirect": "true"})).content == RESULT
        file = tmp_path / "photos" / namespace / "result" / f"{job['id']}-1"
        assert file.stat().st_size == len(RESULT)
        assert (await live.client.delete(job["links"]["self"], params={"purge": "true"})).status_code == 204
        assert not file.exists()
        refused = await live.client.post("/restore", json={"image_url": f"file://{tmp_path}/photos/a"})
        assert code(refused) == (422, "image_url_refused")
