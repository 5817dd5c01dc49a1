"""Every error is a problem document with a stable code, and no request of any shape is a server error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from app.api.app import create_app
from app.jobs.connection import call, connect
from app.jobs.keys import Keys
from app.settings import Settings
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api
from tests.support.jobs import until
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio

PHOTO = samples.png()


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = answer.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"] == f"/errors#{code}"
    assert body["instance"] == answer.request.url.raw_path.decode().partition("?")[0]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in answer.text
    return body


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/web/../app.py", 404, "not_found"),
        ("GET", "/web/index.html", 404, "not_found"),
        ("GET", "/restore/", 404, "not_found"),
        ("GET", "/restore", 405, "method_not_allowed"),
        ("PUT", "/jobs/" + "0" * 32, 405, "method_not_allowed"),
        ("BREW", "/restore", 405, "method_not_allowed"),
        ("GET", "/jobs/" + "0" * 32, 404, "job_not_found"),
        ("GET", "/jobs/" + "0" * 32 + "/result", 404, "job_not_found"),
        ("DELETE", "/jobs/" + "0" * 32, 404, "job_not_found"),
        ("GET", "/jobs/nonsense", 404, "job_not_found"),
        ("GET", "/jobs/%00%ff%F0%9F%90%88", 404, "job_not_found"),
        ("GET", "/jobs/" + "A" * 32, 404, "job_not_found"),
        ("GET", "/jobs/" + "x" * 5000, 404, "job_not_found"),
        ("GET", "/readyz", 503, "not_ready"),
    ],
)
async def test_errors_of_routes_are_problems(
    redis_url: str, namespace: str, method: str, path: str, status: int, code: str
) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        answer = await client.request(method, path)
        problem_of(answer, status, code)
        if status == 405:
            assert answer.headers["allow"]
        if status == 503:
            assert answer.headers["retry-after"]


BOUNDARY = "multipart/form-data; boundary=b"


def part(name: str, body: bytes, more: str = '; filename="f"') -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name.encode(), more.encode(), body)


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("application/x-www-form-urlencoded", PHOTO, 415, "unsupported_media_type"),
        ("application/json", b"{}", 400, "invalid_request"),
        ("text/html; charset=\xff", PHOTO, 415, "unsupported_media_type"),
        ("multipart/form-data", PHOTO, 400, "invalid_request"),
        ("multipart/form-data; boundary=", PHOTO, 400, "invalid_request"),
        ("multipart/form-data; boundary=" + "x" * 5000, PHOTO, 400, "invalid_request"),
        (BOUNDARY, b"", 400, "invalid_request"),
        (BOUNDARY, PHOTO, 400, "invalid_request"),
        (BOUNDARY, b"--b--\r\n", 400, "invalid_request"),
        (BOUNDARY, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", 400, "invalid_request"),
        (BOUNDARY, part("image", PHOTO)[:-20], 400, "invalid_request"),
        (BOUNDARY, part("photo", PHOTO) + b"--b--\r\n", 400, "invalid_request"),
        (BOUNDARY, part("image", PHOTO) * 2 + b"--b--\r\n", 400, "invalid_request"),
        (BOUNDARY, part("image", PHOTO) * 3 + b"--b--\r\n", 400, "invalid_request"),
        (BOUNDARY, part("image", PHOTO, "") + b"--b--\r\n", 400, "invalid_request"),
        (BOUNDARY, part("image", b"x" * 50_000, "") + b"--b--\r\n", 400, "invalid_request"),
        (BOUNDARY, part("seed", b"1", "") * 100 + b"--b--\r\n", 400, "invalid_request"),
        (BOUNDARY, part("image", b"") + b"--b--\r\n", 422, "empty_upload"),
        (BOUNDARY, part("image", PHOTO) + part("steps", b"x", "") + b"--b--\r\n", 422, "invalid_option"),
        (BOUNDARY, part("image", PHOTO) + part("mask", b"x") + b"--b--\r\n", 415, "unsupported_format"),
        (BOUNDARY, part("image", PHOTO) + part("mask", samples.png(4, 4)) + b"--b--\r\n", 422, "invalid_mask"),
        (
            BOUNDARY + "; charset=unicode_escape",
            part("image", PHOTO) + part(r"\ud800", rb"\ud800", "") + b"--b--\r\n",
            422,
            "invalid_option",
        ),
        (
            BOUNDARY + "; charset=undefined",
            part("image", PHOTO) + part("caption", b"\xff\xfe", "") + b"--b--\r\n",
            400,
            "invalid_request",
        ),
    ],
)
async def test_odd_bodies_are_refused_as_problems(
    redis_url: str, namespace: str, content_type: str, body: bytes, status: int, code: str
) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        headers = {b"Content-Type": content_type.encode("latin-1")}
        problem_of(await client.post("/restore", content=body, headers=headers), status, code)


async def test_options_that_are_not_valid_are_listed(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        answer = await client.post("/restore?steps=0&size=3&seed=1", files={"image": PHOTO}, data={"seed": "2"})
        errors = problem_of(answer, 422, "invalid_option")["errors"]
        assert isinstance(errors, list)
        assert {entry["field"] for entry in errors} == {"steps", "size", "seed"}
        wide = samples.png(17_000, 100)
        problem_of(await client.post("/restore?format=webp", content=wide), 422, "invalid_option")


async def test_upload_is_cut_off_at_the_limit_whatever_its_length_header_says(redis_url: str, namespace: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield part("image", b"")[:-2]
        while True:
            sent += 65_536
            yield b"\xff" * 65_536

    async with running_api(api_settings(redis_url, namespace, max_upload_bytes=1_000_000)) as (client, _):
        for content_type in ("image/jpeg", BOUNDARY):
            sent = 0
            answer = await client.post("/restore", content=endless(), headers={"Content-Type": content_type})
            problem_of(answer, 413, "upload_too_large")
            assert sent < 1_200_000
        answer = await client.post("/restore", content=b"x", headers={"Content-Length": "1000001"})
        problem_of(answer, 413, "upload_too_large")


async def test_request_id_is_taken_over_only_if_it_is_safe(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        assert (await client.get("/healthz", headers={"X-Request-Id": "abc-1"})).headers["x-request-id"] == "abc-1"
        odd = (await client.get("/healthz", headers={"X-Request-Id": "a b\t<script>"})).headers["x-request-id"]
        assert len(odd) == 32


async def test_bug_is_answered_without_its_text_and_logged_with_the_id(
    redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(api_settings(redis_url, namespace))

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("secret words")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get("/bug")
    body = problem_of(answer, 500, "internal_error")
    assert "secret" not in json.dumps(body)
    record = next(record for record in caplog.records if record.exc_info)
    assert vars(record)["request_id"] == body["request_id"]


async def test_redis_away_is_said_and_accepted_jobs_come_back(namespace: str) -> None:
    server = RedisServer()
    settings = Settings(redis_url=server.url, namespace=namespace)
    async with running_api(settings) as (client, _):  # starts although Redis is not there
        assert (await client.get("/healthz")).status_code == 200
        not_ready = await client.get("/readyz")
        problem_of(not_ready, 503, "not_ready")
        server.start()
        try:
            job = (await client.post("/restore", content=PHOTO)).json()
            server.kill()
            for request in (
                client.post("/restore", content=PHOTO),
                client.post("/restore", content=PHOTO, headers={"Prefer": "wait=5"}),
                client.get(job["links"]["self"]),
                client.get(job["links"]["result"]),
                client.delete(job["links"]["cancel"]),
            ):
                answer = await request
                assert problem_of(answer, 503, "queue_unavailable")["retryable"] is True
                assert int(answer.headers["retry-after"]) >= 1
            assert "vlmir_queue_up 0.0" in (await client.get("/metrics")).text
            server.start()
            assert (await client.get(job["links"]["self"])).json()["state"] == "queued"
        finally:
            server.close()


def test_app_without_redis_address_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="VLMIR_REDIS_URL"):
        create_app(Settings(redis_url=None))


async def test_queue_that_cannot_be_prepared_is_in_the_log(
    redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    redis = connect(redis_url)
    await call(redis, "SET", Keys(namespace).stream("interactive"), "no stream")
    await redis.aclose()

    async def is_logged() -> bool:
        return "streams of the queue cannot be created" in caplog.text and "WRONGTYPE" in caplog.text

    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        await until(is_logged)
        assert (await client.get("/healthz")).status_code == 200
