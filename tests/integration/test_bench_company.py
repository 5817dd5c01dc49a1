"""Small jobs beside a large one, measured at a real server with a real worker and the tiny model."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn

from app.api.app import create_app
from app.bench.photos import SIZES
from app.bench.service import small_beside_large
from app.bench.work import count_tiles
from app.jobs.queue import JobQueue
from model.config import load_config
from tests.support.api import api_settings
from tests.support.workers import tiny_runner, working


@contextlib.contextmanager
def serving(redis_url: str, namespace: str) -> Iterator[str]:
    """A server on a free port with a worker, in a thread of their own."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(api_settings(redis_url, namespace))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))

    async def run() -> None:
        queue = JobQueue.from_url(redis_url, namespace)
        async with working(queue, tiny_runner()):
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
        thread.join(60)


def test_work_and_latencies_of_both_are_measured(redis_url: str, namespace: str) -> None:
    config = load_config("tiny")
    with serving(redis_url, namespace) as url:
        found = small_beside_large(url, "thumbnail", "2 MP", 2, lambda size: count_tiles(config, size))
    steps = config.steps["balanced"]
    assert found.large_tile_steps == count_tiles(config, SIZES["2 MP"]) * steps
    assert found.idle.count == 2
    assert 1 <= found.beside.count <= 2
    assert found.small_tile_steps == found.beside.count * count_tiles(config, SIZES["thumbnail"]) * steps
    assert found.large_alone_s > found.idle.p50_s > 0
    assert found.beside.p95_s > 0
