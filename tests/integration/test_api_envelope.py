"""What surrounds every request: calls of other origins, ids."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from app.api.app import create_app
from app.errors import QueueUnavailableError
from app.logs import configure_logging
from app.settings import Settings
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api
from tests.support.jobs import until

pytestmark = pytest.mark.anyio
PAGE = "https://photos.example"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, idempotency-key, prefer",
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(Settings(log_json=True), stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_pages_of_named_origins_may_call_and_read_what_they_need(redis_url: str, namespace: str) -> None:
    settings = api_settings(redis_url, namespace, cors_origins=PAGE, open_access=False)
    async with running_api(settings) as (client, services):
        asked = await client.options("/restore", headers=PREFLIGHT)  # browsers send no key with it
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == PAGE
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert "authorization" in asked.headers["access-control-allow-headers"].lower()
        _, token = await services.access.keyring.create("page", "acme", frozenset({"admin"}))
        headers = {"Origin": PAGE, "Authorization": f"Bearer {token}"}
        sent = await client.post("/restore", content=samples.png(), headers=headers)
        assert sent.status_code == 202
        shown = {name.strip() for name in sent.headers["access-control-expose-headers"].lower().split(",")}
        assert {"location", "retry-after", "ratelimit", "x-request-id", "x-job-id", "etag"} <= shown
        assert "access-control-allow-credentials" not in sent.headers
        refused = await client.get("/jobs", headers={"Origin": PAGE})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)


async def test_pages_of_others_get_no_permission(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, cors_origins=PAGE)) as (client, _):
        asked = await client.options("/restore", headers=PREFLIGHT | {"Origin": "https://elsewhere.example"})
        assert (asked.status_code, asked.content) == (204, b"")
        assert "access-control-allow-origin" not in asked.headers
        got = await client.get("/jobs", headers={"Origin": "https://elsewhere.example"})
        assert "access-control-allow-origin" not in got.headers
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        assert "access-control-allow-origin" not in (await client.options("/restore", headers=PREFLIGHT)).headers
    async with running_api(api_settings(redis_url, namespace, cors_origins="*")) as (client, _):
        got = await client.get("/jobs", headers={"Origin": "https://anybody.example"})
        assert got.headers["access-control-allow-origin"] == "*"


async def test_request_id_is_in_answer_problem_and_log(redis_url: str, namespace: str, log: io.StringIO) -> None:
    async with running_api(api_settings(redis_url, namespace, open_access=False)) as (client, _):
        answer = await client.get("/jobs", headers={"X-Request-Id": "order-7.b_1"})
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == "order-7.b_1"
        lines = [json.loads(line) for line in log.getvalue().splitlines()]
        (line,) = [line for line in lines if "is refused" in line["message"]]
        assert line["request_id"] == "order-7.b_1"
        for odd in ("", "a b", "x" * 65, "a/b", "<a>"):
            other = (await client.get("/jobs", headers={"X-Request-Id": odd})).headers["x-request-id"]
            assert len(other) == 32
    assert "request_id" not in lines[0]  # what is written outside of requests


async def test_an_answer_that_cannot_go_on_is_broken_off_without_a_traceback(
    redis_url: str, namespace: str, log: io.StringIO
) -> None:
    @contextlib.asynccontextmanager
    async def served(app: FastAPI) -> AsyncIterator[str]:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
        task = asyncio.create_task(server.serve())
        try:
            await until(lambda: _is(server.started))
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            await task

    async def half() -> AsyncIterator[bytes]:
        yield b"half of it"
        raise QueueUnavailableError("The job queue does not answer.")

    app = create_app(api_settings(redis_url, namespace))
    app.add_api_route("/half", lambda: StreamingResponse(half(), headers={"Content-Length": "20"}))
    async with served(app) as url, httpx.AsyncClient(base_url=url) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/half")
        assert (await client.get("/healthz")).status_code == 200
    assert "answer to GET '/half' breaks off: The job queue does not answer." in log.getvalue()
    assert "Traceback" not in log.getvalue()


async def _is(value: bool) -> bool:
    return value
