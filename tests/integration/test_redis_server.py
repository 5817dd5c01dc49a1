"""What real Redis servers tell about themselves, what becomes of that, and with how few rights the queue works."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.jobs.connection import call, connect
from app.jobs.job import JobState
from app.jobs.keys import Keys
from app.jobs.queue import JobQueue, QueuePolicy
from app.jobs.server import MINIMUM, ServerFacts
from tests.support.api import api_settings
from tests.support.jobs import LONG_LEASE_MS, make_job, open_queue
from tests.support.redis_server import RedisServer
from tests.support.server import live_api
from tests.support.server_binaries import EACH_BINARY

pytestmark = pytest.mark.anyio

POLICY = QueuePolicy(lease_ms=LONG_LEASE_MS, max_deliveries=1)


@contextmanager
def running(binary: str, *arguments: str) -> Iterator[RedisServer]:
    server = RedisServer(*arguments, binary=binary)
    server.start()
    try:
        yield server
    finally:
        server.close()


@EACH_BINARY
async def test_a_server_set_up_well_has_no_warnings(binary: str) -> None:
    with running(binary) as server:
        async with open_queue(server.url, "") as queue:
            facts = await queue.check()
            assert facts.version is not None
            assert facts.version >= MINIMUM
            assert queue.server == ServerFacts(facts.version, ())


@EACH_BINARY
async def test_a_server_that_may_lose_jobs_is_told_to_operators(binary: str) -> None:
    with running(binary, "--appendonly", "no", "--maxmemory-policy", "allkeys-lru") as server:
        async with live_api(api_settings(server.url, "")) as api, open_queue(server.url, "") as worker:
            await worker.announce("w", ready=True, model="tiny", ttl_ms=60_000, models=api.services.model_names)
            deadline = asyncio.get_running_loop().time() + 20
            warnings: list[str] = []
            while not warnings and asyncio.get_running_loop().time() < deadline:
                warnings = (await api.client.get("/readyz")).json().get("warnings", [])
            assert [("allkeys-lru" in text, "appendonly" in text) for text in warnings] == [
                (True, False),
                (False, True),
            ]


@EACH_BINARY
async def test_a_server_that_tells_nothing_is_taken_as_it_is(binary: str) -> None:
    with running(binary, "--rename-command", "INFO", "", "--rename-command", "CONFIG", "") as server:
        async with open_queue(server.url, "") as queue:
            assert await queue.check() == ServerFacts()
            await queue.ensure()
            assert (await queue.submit(make_job(), b"photo")).state is JobState.QUEUED


async def whole_life(queue: JobQueue) -> None:
    """What API and workers do, and an operator."""
    await queue.check()
    await queue.ensure()
    done = await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("w", 1, 10)
    with queue.news.follow(done.id):
        waiter = asyncio.create_task(queue.wait(done.id, 60))
        await queue.renew(claim)
        await queue.progress(claim, 1, 2)
        assert await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=2)
        assert (await waiter).state is JobState.SUCCEEDED
    await queue.announce("w", ready=True, model="tiny", ttl_ms=60_000)
    await queue.retire("w")
    failed = await queue.submit(make_job("batch"), b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    await queue.fail(claim, "device_out_of_memory", "no luck", retryable=True)
    await queue.dead.retry(failed.id)
    await queue.cancel(failed.id)
    await queue.purge(done.id)


@EACH_BINARY
@pytest.mark.parametrize("more", [(), ("+info", "+role")])
async def test_user_with_the_rights_that_the_page_names_can_do_all(
    binary: str, more: tuple[str, ...], namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running(binary) as server:
        admin, prefix = connect(server.url), Keys(namespace).prefix
        rights = (f"~{prefix}*", f"&{prefix}news", "+@all", "-@admin", "-@dangerous", *more)
        await call(admin, "ACL", "SETUSER", "service", "on", ">secret", "resetkeys", "resetchannels", *rights)
        async with open_queue(f"unix://service:secret@{server.socket}", namespace, POLICY) as queue:
            await whole_life(queue)
            assert (queue.server.version is not None) == bool(more)
        assert [row for row in await call(admin, "ACL", "LOG") if "info" not in str(row)] == []
        await admin.aclose()
    assert "no news" not in caplog.text
