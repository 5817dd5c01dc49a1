"""GET and HEAD /jobs/{id}/result: conditions, parts, types, and that large ones come in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from app.jobs import results
from app.jobs.queue import JobQueue
from tests.support.api import api_settings, working
from tests.support.jobs import make_job, until
from tests.support.sample_photos import png
from tests.support.server import LiveApi, live_api

pytestmark = pytest.mark.anyio

DATA = bytes(range(256)) * 40


@dataclass
class Finished:
    live: LiveApi
    path: str

    async def get(self, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.live.client.get(self.path, headers=named)


async def finish(queue: JobQueue, data: bytes = DATA, media_type: str = "image/jpeg") -> str:
    job = await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("ada", 1, 0)
    await queue.finish(claim, data, media_type, caption=None, findings=(), steps_total=1)
    return job.id


@pytest.fixture
async def done(redis_url: str, namespace: str) -> AsyncIterator[Finished]:
    async with live_api(api_settings(redis_url, namespace, result_ttl_s=500)) as live:
        yield Finished(live, f"/jobs/{await finish(live.services.queue)}/result")


async def test_whole_result_describes_itself(done: Finished) -> None:
    answer = await done.get()
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"].startswith('inline; filename="restored-')
    private, max_age, immutable = answer.headers["cache-control"].split(", ")
    assert (private, immutable) == ("private", "immutable")
    assert 0 < int(max_age.removeprefix("max-age=")) <= 500  # no longer than the result is there
    tag = answer.headers["etag"]
    assert tag.startswith('"')  # a strong one
    assert (await done.get()).headers["etag"] == tag
    head = await done.live.client.head(done.path)
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in ("etag", "content-length", "content-type", "accept-ranges")} == {
        "etag": tag, "content-length": str(len(DATA)), "content-type": "image/jpeg", "accept-ranges": "bytes",
    }  # fmt: skip


async def test_known_result_is_not_sent_again(done: Finished) -> None:
    tag = (await done.get()).headers["etag"]
    for header in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = await done.get(If_None_Match=header, Range="bytes=0-1")
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert (await done.get(If_None_Match='"x"')).status_code == 200
    lines = [("If-None-Match", '"x"'), ("If-None-Match", tag)]  # a list may come in several lines
    assert (await done.live.client.get(done.path, headers=lines)).status_code == 304
    assert (await done.live.client.head(done.path, headers={"If-None-Match": tag})).status_code == 304


async def test_only_the_result_that_is_meant_is_sent(done: Finished) -> None:
    tag = (await done.get()).headers["etag"]
    for header in (tag, f'"x", {tag}', "*"):
        assert (await done.get(If_Match=header)).content == DATA
    for header in ('"x"', f"W/{tag}", "x", tag.strip('"')):  # a weak tag never fits, by the standard
        answer = await done.get(If_Match=header, If_None_Match=tag, Range="bytes=0-1")
        assert (answer.status_code, answer.headers["content-type"]) == (412, "application/problem+json")
        assert (answer.json()["code"], answer.headers.get("etag")) == ("precondition_failed", tag)
        assert (await done.live.client.head(done.path, headers={"If-Match": header})).status_code == 412
    assert (await done.get(If_Match=tag, If_None_Match=tag)).status_code == 304
    assert (await done.get(If_Match=tag, Range="bytes=0-1")).content == DATA[:2]
    lines = [("If-Match", '"x"'), ("If-Match", tag)]  # a list may come in several lines
    assert (await done.live.client.get(done.path, headers=lines)).status_code == 200
    # What would be no success without it stays what it is.
    assert (await done.get(If_Match='"x"', Accept="image/webp")).status_code == 406


async def test_parts_of_it(done: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "CHUNK_BYTES", 1000)
    tag = (await done.get()).headers["etag"]
    size = len(DATA)
    for header, start, stop in (("0-0", 0, 1), ("100-5099", 100, 5100), ("-7", size - 7, size), ("9000-", 9000, size)):
        answer = await done.get(Range=f"bytes={header}")
        assert (answer.status_code, answer.content) == (206, DATA[start:stop])
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert answer.headers["content-length"] == str(stop - start)
        assert answer.headers["etag"] == tag
    assert (await done.get(Range="bytes=5-9", If_Range=tag)).content == DATA[5:10]
    for more in ({"If_Range": '"x"'}, {"If_Range": f"W/{tag}"}):
        answer = await done.get(Range="bytes=5-9", **more)
        assert (answer.status_code, answer.content) == (200, DATA)
    assert (await done.get(Range="bytes=1-2,4-5")).status_code == 200
    head = await done.live.client.head(done.path, headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.headers["content-length"]) == (200, str(size))


async def test_part_behind_the_end_is_a_problem(done: Finished) -> None:
    answer = await done.get(Range=f"bytes={len(DATA)}-")
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


async def test_download_that_broke_off_is_put_together_again(done: Finished) -> None:
    first = await done.get(Range="bytes=0-4000")
    rest = await done.get(Range="bytes=4001-", If_Range=first.headers["etag"])
    assert first.content + rest.content == DATA


async def test_other_types_are_not_made(done: Finished) -> None:
    for accept in ("image/png", "text/html, application/json", "image/jpeg;q=0, image/*"):
        answer = await done.get(Accept=accept)
        assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
        assert answer.json()["available"] == ["image/jpeg"]
        assert answer.headers["content-type"] == "application/problem+json"
    for accept in ("image/*", "image/avif,image/webp,*/*;q=0.5", "image/jpeg"):
        assert (await done.get(Accept=accept)).status_code == 200


async def test_large_result_is_never_whole_in_the_process(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with live_api(api_settings(redis_url, namespace)) as live:
        data = bytes(8 * 2**20)
        path = f"/jobs/{await finish(live.services.queue, data)}/result"
        sizes: list[int] = []
        part = live.services.queue.results._blobs.part

        async def note(name: str, start: int, stop: int) -> bytes:
            found = await part(name, start, stop)
            sizes.append(len(found))
            return found

        monkeypatch.setattr(live.services.queue.results._blobs, "part", note)
        assert (await live.client.get(path)).content == data
        assert max(sizes) == results.CHUNK_BYTES
        sizes.clear()
        # A caller that reads a little and goes: what it has not read is not fetched.
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port, limit=1024)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

        async def is_over() -> bool:
            return not [task for task in asyncio.all_tasks() if "RequestResponseCycle" in repr(task)]

        await until(is_over)
        assert sum(sizes) < len(data)


async def test_head_of_what_is_not_there(done: Finished) -> None:
    job = await done.live.services.queue.submit(make_job(), b"photo")
    assert (await done.live.client.head(f"/jobs/{job.id}/result")).status_code == 409
    assert (await done.live.client.head(f"/jobs/{'0' * 32}/result")).status_code == 404


@pytest.mark.parametrize("waits", [False, True], ids=["result", "answer of a request that waited"])
async def test_caller_that_reads_nothing_is_left(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    monkeypatch.setattr("app.api.results.SEND_TIMEOUT_S", 0.1)
    async with live_api(api_settings(redis_url, namespace)) as live:
        queue, data = live.services.queue, bytes(24 * 2**20)  # more than sockets hold
        if waits:
            body = png()
            sent = f"Prefer: wait=20\r\nContent-Type: image/png\r\nContent-Length: {len(body)}"
            request = f"POST /restore HTTP/1.1\r\n{sent}"
        else:
            request, body = f"GET /jobs/{await finish(queue, data)}/result HTTP/1.1", b""
        async with working(queue, lambda claim: data):
            reader, writer = await asyncio.open_connection("127.0.0.1", live.port, limit=1024)
            writer.write(f"{request}\r\nHost: localhost\r\n\r\n".encode() + body)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert f"content-length: {len(data)}".encode() in head.lower()

            async def is_over() -> bool:
                return not [task for task in asyncio.all_tasks() if "RequestResponseCycle" in repr(task)]

            await until(is_over)
            writer.transport.abort()
