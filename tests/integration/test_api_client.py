"""The Python client against a real server on a port, with a worker that restores or fails."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn

from app.api.app import create_app
from app.client import RemoteError, RemoteJob, ServiceUnreachableError, VlmirClient, WaitTimeoutError, error_of
from app.errors import (
    InvalidMaskError,
    InvalidOptionError,
    JobCanceledError,
    JobFailedError,
    JobNotFoundError,
    QueueFullError,
    ResultNotReadyError,
    UnsupportedFormatError,
)
from app.images import ImageLimits, decode
from app.jobs.job import JobState
from app.jobs.queue import Claim, JobQueue
from tests.support import sample_photos as samples
from tests.support.api import CAPTION, api_settings, invert, working

FAILING_SEED = 13


def work(claim: Claim) -> bytes | Exception:
    return RuntimeError("unlucky number") if claim.job.options.seed == FAILING_SEED else invert(claim)


@contextlib.contextmanager
def serving(
    redis_url: str,
    namespace: str,
    *,
    with_worker: bool = True,
    worker: Callable[[Claim], bytes | Exception] = work,
) -> Iterator[str]:
    """A server on a free port in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(api_settings(redis_url, namespace))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))

    async def run() -> None:
        if not with_worker:
            await server.serve(sockets=[listener])
            return
        queue = JobQueue.from_url(redis_url, namespace)
        async with working(queue, worker):
            await server.serve(sockets=[listener])
        await queue.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        server.should_exit = True
        thread.join(20)


def test_client_restores_waits_and_reports(redis_url: str, namespace: str, tmp_path: Path) -> None:
    photo = tmp_path / "old.png"
    photo.write_bytes(samples.png())
    seen: list[RemoteJob] = []
    with serving(redis_url, namespace) as url, VlmirClient(url) as client:
        data = client.restore(photo, seed=2, steps=None, format="png", on_progress=seen.append, timeout_s=20)
        assert np.array_equal(decode(data, ImageLimits()).rgb, 255 - samples.pixels())
        last = seen[-1]
        assert (last.state, last.step, last.steps_total, last.caption) == (JobState.SUCCEEDED, 2, 2, CAPTION)
        assert last.findings[0].kind == "rain"
        assert last.result_media_type == "image/png"
        assert client.result(last.id) == data
        assert client.job(last.id) == last
        assert client.cancel(last).state is JobState.SUCCEEDED
        with pytest.raises(JobFailedError, match="unlucky") as failed:
            client.restore(samples.png(), seed=FAILING_SEED, timeout_s=20)
        assert failed.value.error_code == "restoration_failed"
        with pytest.raises(UnsupportedFormatError, match="PDF"):
            client.submit(b"%PDF-")
        with pytest.raises(InvalidOptionError, match="steps"):
            client.submit(photo, steps=1000)
        with pytest.raises(InvalidMaskError):
            client.submit(photo, mask=samples.png(3, 3))
        with pytest.raises(JobNotFoundError):
            client.wait("0" * 32)


def test_client_tells_waiting_from_ended(redis_url: str, namespace: str) -> None:
    with serving(redis_url, namespace, with_worker=False) as url, VlmirClient(url) as client:
        job = client.submit(samples.png())
        with pytest.raises(ResultNotReadyError) as early:
            client.result(job)
        assert early.value.state == "queued"
        assert early.value.retry_after_s
        with pytest.raises(WaitTimeoutError):
            client.wait(job, timeout_s=0.2)
        assert client.cancel(job).state is JobState.CANCELED
        with pytest.raises(JobCanceledError):
            client.result(job)


def test_client_says_that_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with VlmirClient(f"http://127.0.0.1:{port}") as client, pytest.raises(ServiceUnreachableError, match=str(port)):
        client.job("0" * 32)


def test_answers_that_are_no_problem_documents_become_remote_errors() -> None:
    request = httpx.Request("GET", "http://vlmir.test/x")
    proxy = error_of(httpx.Response(502, text="<html>bad gateway", request=request))
    assert isinstance(proxy, RemoteError)
    assert (proxy.remote_status, proxy.remote_code) == (502, None)
    newer = error_of(httpx.Response(418, json={"code": "teapot", "detail": "short and stout"}, request=request))
    assert isinstance(newer, RemoteError)
    assert (newer.remote_code, newer.detail) == ("teapot", "short and stout")
    for odd in ([1], "text", None, 5):
        assert isinstance(error_of(httpx.Response(500, json=odd, request=request)), RemoteError)
    full = error_of(httpx.Response(503, json={"code": "queue_full"}, headers={"Retry-After": "7"}, request=request))
    assert isinstance(full, QueueFullError)
    assert full.retry_after_s == 7


def test_client_follows_links_behind_a_path_prefix() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        document = {
            "id": "a" * 32,
            "state": "queued",
            "step": 0,
            "steps_total": None,
            "caption": None,
            "degradations": [],
            "result_media_type": None,
            "error": None,
            "links": {"self": "/pre/jobs/a", "result": "/pre/jobs/a/result", "cancel": "/pre/jobs/a"},
        }
        return httpx.Response(202, json=document)

    with VlmirClient("http://vlmir.test/pre", transport=httpx.MockTransport(answer)) as client:
        job = client.submit(b"x")
        client.job(job)
        client.job("b" * 32)
        client.result(job)
    assert asked == ["/pre/restore", "/pre/jobs/a", "/pre/jobs/" + "b" * 32, "/pre/jobs/a/result"]
