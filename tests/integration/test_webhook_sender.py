"""The outbox and its senders, over a real Redis and real connections: nothing is lost, and failures are waited out."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import replace

import pytest

from app.client import verify_webhook
from app.fetch.pinned import FetchPolicy, PinnedClient
from app.jobs.connection import call
from app.jobs.job import Job, JobState
from app.jobs.outbox import Delivery
from app.jobs.queue import JobQueue, QueuePolicy
from app.jobs.webhook import Webhook
from app.webhooks.policy import WebhookPolicy
from app.webhooks.sender import WebhookSender
from app.webhooks.signing import WebhookSecrets
from tests.support.jobs import make_job, open_queue, until
from tests.support.photo_host import resolving, response
from tests.support.redis_server import RedisServer
from tests.support.webhook_host import POLICY, SECRET, Received, describe, in_turn, make_sender, sending, webhook_host

pytestmark = pytest.mark.anyio
NOWHERE = "http://hooks.example:9/"  # a port that only the tests' policy would allow, and nobody listens there


def hooked(url: str, events: tuple[str, ...] | None = None, tenant: str = "default", batch: str | None = None) -> Job:
    webhook = Webhook(url) if events is None else Webhook(url, events)
    return replace(make_job(tenant=tenant), webhook=webhook, batch_id=batch, metadata={"é/": [1]})


async def ended(queue: JobQueue, job: Job, state: JobState = JobState.SUCCEEDED) -> Job:
    """Submit a job and bring it to an end."""
    await queue.submit(job, b"photo")
    if state is JobState.CANCELED:
        return await queue.cancel(job.id)
    (claim,) = await queue.claim("w", 1, 0)
    if state is JobState.FAILED:
        await queue.fail(claim, "restoration_failed", "No luck.")
    else:
        await queue.finish(claim, b"result", "image/png", caption="a \u0001 dog", findings=(), steps_total=1)
    return await queue.get(job.id)


async def delivery(queue: JobQueue, job: Job) -> Delivery:
    (found,) = await queue.outbox.deliveries(job.id)
    return found


async def settled(queue: JobQueue, job: Job) -> Delivery:
    async def is_settled() -> bool:
        return (await delivery(queue, job)).state != "pending"

    await until(is_settled)
    return await delivery(queue, job)


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED])
async def test_end_of_a_job_is_told_signed_and_once(redis_url: str, namespace: str, state: JobState) -> None:
    async with webhook_host() as host, open_queue(redis_url, namespace) as queue:
        await queue.ensure()
        job = await ended(queue, hooked(host.url("/a?b=c")), state)
        assert await queue.outbox.waiting() == 1
        async with sending(make_sender(queue.outbox)):
            found = await settled(queue, job)
        (request,) = host.received
        event = verify_webhook(request.headers, request.body, SECRET)
        assert (event.id, event.type) == (found.id, f"job.{state.value}")
        assert event.data == {"id": job.id, "state": state.value, "metadata": {"é/": [1]}}
        assert request.path == "/a?b=c"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["host"] == f"hooks.example:{host.port}"
        assert (found.state, found.next_ms, [item.status for item in found.attempts]) == ("delivered", None, [204])
        assert await queue.outbox.waiting() == 0
        assert job.id not in found.id


async def test_only_what_was_asked_for_is_told(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace) as queue:
        await queue.ensure()
        silent = await ended(queue, make_job())
        other = await ended(queue, hooked(NOWHERE, ("job.failed", "job.canceled")))
        assert await queue.outbox.deliveries(silent.id) == await queue.outbox.deliveries(other.id) == []
        assert await queue.outbox.waiting() == 0
        wanted = await ended(queue, hooked(NOWHERE, ("job.failed",)), JobState.FAILED)
        assert (await delivery(queue, wanted)).event == "job.failed"


async def test_commits_sent_twice_tell_once(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace) as queue:
        await queue.ensure()
        job = hooked(NOWHERE)
        await queue.submit(job, b"photo")
        (claim,) = await queue.claim("w", 1, 0)
        for _ in range(2):
            assert await queue.finish(claim, b"r", "image/png", caption=None, findings=(), steps_total=1)
        assert len(await queue.outbox.deliveries(job.id)) == await queue.outbox.waiting() == 1


async def test_a_job_ends_and_tells_at_the_memory_limit_too(namespace: str) -> None:
    server = RedisServer()
    server.start()
    try:
        async with open_queue(server.url, namespace) as queue:
            await queue.ensure()
            job = hooked(NOWHERE)
            await queue.submit(job, b"x" * 200_000)
            (claim,) = await queue.claim("w", 1, 0)
            await call(queue._redis, "CONFIG", "SET", "maxmemory", "1mb")  # less than is used
            assert await queue.finish(claim, b"r", "image/png", caption=None, findings=(), steps_total=1)
            (message,) = await queue.outbox.take(1, 60_000, 4)
            assert await queue.outbox.settle(message, "delivered", (await delivery(queue, job)).attempts[0])
            assert (await delivery(queue, job)).state == "delivered"
    finally:
        server.close()


async def test_failures_are_tried_again_with_the_same_id_and_body_and_then_given_up(
    redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with (
        webhook_host(in_turn("500 No", "302 Found", "404 No", "200 OK")) as host,
        open_queue(redis_url, namespace) as queue,
    ):
        await queue.ensure()
        job = await ended(queue, hooked(host.url()))
        async with sending(make_sender(queue.outbox)):
            found = await settled(queue, job)
            assert (found.state, [item.status for item in found.attempts]) == ("delivered", [500, 302, 404, 200])
            assert len({request.body for request in host.received}) == 1
            assert {request.id for request in host.received} == {found.id}
            assert all(verify_webhook(item.headers, item.body, SECRET) for item in host.received)
    async with webhook_host(in_turn("500 No")) as host, open_queue(redis_url, namespace) as queue:
        job = await ended(queue, hooked(host.url()))
        async with sending(make_sender(queue.outbox)):
            found = await settled(queue, job)
        assert (found.state, found.next_ms, len(found.attempts)) == ("failed", None, 4)  # the schedule has three pauses
        assert [bool(item.seconds) for item in found.attempts] == [True] * 4
        assert await queue.outbox.waiting() == 0
    assert "given up after 4 tries: status 500" in caplog.text
    assert "whsec_" not in caplog.text
    assert SECRET.removeprefix("whsec_") not in caplog.text


async def test_redirections_are_not_followed(redis_url: str, namespace: str) -> None:
    async with webhook_host() as elsewhere:

        def redirect(_request: Received) -> bytes:
            return response(b"", "307 Temporary Redirect", Location=elsewhere.url())

        async with webhook_host(redirect) as host, open_queue(redis_url, namespace) as queue:
            await queue.ensure()
            job = await ended(queue, hooked(host.url()))
            async with sending(make_sender(queue.outbox)):
                found = await settled(queue, job)
        assert found.state == "failed"
        assert {item.status for item in found.attempts} == {307}
        assert elsewhere.received == []


async def test_no_answer_is_a_failure_with_a_reason(redis_url: str, namespace: str) -> None:
    async with webhook_host(lambda _request: None) as host, open_queue(redis_url, namespace) as queue:
        await queue.ensure()
        job = await ended(queue, hooked(host.url()))
        closed = await ended(queue, hooked(NOWHERE.replace(":9/", ":1024/")))
        async with sending(make_sender(queue.outbox, replace(POLICY, timeout_s=0.1, schedule_s=(0.01,)))):
            silent, refused = await settled(queue, job), await settled(queue, closed)
    assert [(item.status, item.error) for item in silent.attempts] == [(None, "No answer within 0.1 s.")] * 2
    assert [item.error for item in refused.attempts] == ["hooks.example cannot be connected to."] * 2


async def test_a_name_that_leads_inside_is_never_sent_to(redis_url: str, namespace: str) -> None:
    async with webhook_host() as host, open_queue(redis_url, namespace) as queue:
        await queue.ensure()
        job = await ended(queue, hooked(host.url()))
        client = PinnedClient(FetchPolicy(allow_http=True), resolving(["93.184.215.14", "127.0.0.1"]))
        async with sending(WebhookSender(queue.outbox, client, WebhookSecrets(), POLICY, describe)):
            found = await settled(queue, job)
        assert host.received == []
    assert found.state == "failed"
    (attempt,) = found.attempts
    assert attempt.error is not None
    assert "not public (loopback)" in attempt.error


async def test_without_secrets_messages_are_sent_unsigned(redis_url: str, namespace: str) -> None:
    async with webhook_host() as host, open_queue(redis_url, namespace) as queue:
        await queue.ensure()
        job = await ended(queue, hooked(host.url()))
        async with sending(make_sender(queue.outbox, secrets="")):
            await settled(queue, job)
        (request,) = host.received
        assert "webhook-id" in request.headers
        assert "webhook-signature" not in request.headers


async def test_410_ends_what_follows_of_the_batch_and_nothing_else(redis_url: str, namespace: str) -> None:
    async with (
        webhook_host(in_turn("410 Gone")) as gone,
        webhook_host() as other,
        open_queue(redis_url, namespace) as queue,
    ):
        await queue.ensure()
        batch_id, _ = await queue.batches.create("b" * 32, "default", 1, [])
        first = await ended(queue, hooked(gone.url(), batch=batch_id))
        second = await ended(queue, hooked(gone.url(), batch=batch_id))
        async with sending(make_sender(queue.outbox, replace(POLICY, at_once_per_endpoint=1))):
            assert (await settled(queue, first)).state == "disabled"
            assert (await settled(queue, second)).state == "disabled"
            third = await ended(queue, hooked(gone.url(), batch=batch_id))
            elsewhere = await ended(queue, hooked(other.url(), batch=batch_id))
            assert (await settled(queue, third)).attempts == ()
            assert (await settled(queue, elsewhere)).state == "delivered"
            alone = await ended(queue, hooked(gone.url()))
            assert [item.status for item in (await settled(queue, alone)).attempts] == [410]
        assert len(gone.received) == 2  # one of the batch, one of a job of its own


async def test_an_endpoint_that_does_not_answer_holds_up_no_other(redis_url: str, namespace: str) -> None:
    async with (
        webhook_host(lambda _request: None) as silent,
        webhook_host() as host,
        open_queue(redis_url, namespace) as queue,
    ):
        await queue.ensure()
        stuck = [await ended(queue, hooked(silent.url())) for _ in range(6)]
        jobs = [await ended(queue, hooked(host.url())) for _ in range(6)]
        policy = replace(POLICY, at_once=4, at_once_per_endpoint=2, timeout_s=60.0)
        async with sending(make_sender(queue.outbox, policy)):
            for job in jobs:
                assert (await settled(queue, job)).state == "delivered"
            assert len(silent.received) == 2
        assert host.most_at_once <= 2
        # What the sender had in its hands when it was stopped is due again at once, and counts as no failure.
        taken = await queue.outbox.take(10, 60_000, 10)
        assert {message.failures for message in taken} == {0}
        assert len(taken) == len(stuck)


@pytest.mark.parametrize("ahead", [1_101, 3_500])
async def test_a_long_line_for_one_busy_receiver_holds_up_no_other(redis_url: str, namespace: str, ahead: int) -> None:
    """However many are due before it: a few calls find what is for somebody else, each without looking at them all."""
    busy = "ab" * 20  # nothing but the name of a busy endpoint is looked at
    async with open_queue(redis_url, namespace) as queue:
        await queue.ensure()
        outbox, redis = queue._keys.outbox, queue._redis
        # All due at one moment, as those are that waited for their receiver to come back.
        rows = [word for number in range(ahead) for word in (1, f"{busy}:msg_{number:040x}")]
        await call(redis, "ZADD", outbox, *rows)
        job = await ended(queue, hooked(NOWHERE))
        for _ in range(4):
            if found := await queue.outbox.take(10, 60_000, 4, [busy] * 4):
                break
        assert [message.id for message in found] == [(await delivery(queue, job)).id]
        # What was passed over has lost nothing: it is due, and first in line.
        assert await call(redis, "ZCOUNT", outbox, "-inf", 1) == ahead
        late = await ended(queue, hooked(NOWHERE))
        for _ in range(4):  # and the search begins anew behind what is under way
            if found := await queue.outbox.take(10, 60_000, 4, [busy] * 4):
                break
        assert [message.id for message in found] == [(await delivery(queue, late)).id]


async def test_a_busy_receiver_is_left_alone_for_as_long_as_it_asks(redis_url: str, namespace: str) -> None:
    def busy(_request: Received) -> bytes:
        return response(b"", "429 Too Many Requests", Retry_After="3000")

    async with webhook_host(busy) as host, open_queue(redis_url, namespace) as queue:
        await queue.ensure()
        jobs = [await ended(queue, hooked(host.url())) for _ in range(3)]
        policy = replace(POLICY, at_once_per_endpoint=1, endpoint_pause_s=1000.0)
        async with sending(make_sender(queue.outbox, policy)):

            async def is_answered() -> bool:
                return bool([item for job in jobs for item in (await delivery(queue, job)).attempts if item.status])

            await until(is_answered)
            assert await queue.outbox.take(10, 60_000, 10) == []  # the others wait too
        assert len(host.received) == 1
        tried = [found for job in jobs if (found := await delivery(queue, job)).attempts]
        assert [found.next_ms is not None and found.next_ms - found.at_ms > 2_900_000 for found in tried] == [True]


async def test_a_killed_sender_loses_nothing(redis_url: str, namespace: str) -> None:
    """The first sender is killed while the receiver holds its request; another one sends it again."""
    answers: list[bytes | None] = [None]
    async with (
        webhook_host(lambda _request: answers.pop() if answers else response(b"", "204 Fine")) as host,
        open_queue(redis_url, namespace) as queue,
    ):
        await queue.ensure()
        job = await ended(queue, hooked(host.url()))
        arguments = ("-m", "tests.support.webhook_process", redis_url, namespace, "0.3")
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments)

        async def is_held() -> bool:
            return len(host.received) == 1

        try:
            await until(is_held, 30.0)
        finally:
            process.kill()
            await process.wait()
        assert (await delivery(queue, job)).state == "pending"
        async with sending(make_sender(queue.outbox)):
            found = await settled(queue, job)
        first, second = host.received
        assert (first.id, first.body) == (second.id, second.body)
        assert verify_webhook(second.headers, second.body, SECRET).type == "job.succeeded"
        assert [item.status for item in found.attempts] == [None, 204]


async def test_random_kills_of_senders_and_workers_lose_no_webhook(redis_url: str, namespace: str) -> None:
    """Senders die again and again; every job is told, each under one id of its own."""
    async with webhook_host() as host, open_queue(redis_url, namespace) as queue:
        await queue.ensure()
        jobs: list[Job] = []
        arguments = ("-m", "tests.support.webhook_process", redis_url, namespace, "0.2")
        for _ in range(3):
            process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
            before = len(host.received)

            async def has_begun(count: int = before) -> bool:
                jobs.append(await ended(queue, hooked(host.url())))
                return len(host.received) > count

            try:
                await until(has_begun, 30.0)
            finally:
                process.kill()
                await process.wait()
        async with sending(make_sender(queue.outbox)):
            for job in jobs:
                assert (await settled(queue, job)).state == "delivered"
        told = {request.document["data"]["id"]: request.id for request in host.received}
        assert set(told) == {job.id for job in jobs}
        assert len(set(told.values())) == len(jobs)


async def test_an_event_that_kills_its_senders_is_given_up(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace) as queue:
        await queue.ensure()
        job = await ended(queue, hooked(NOWHERE))
        policy = WebhookPolicy(schedule_s=(0.0,), lease_s=60.0)
        for _ in range(2):  # taken and never settled
            assert len(await queue.outbox.take(1, 0, 4)) == 1
        async with sending(make_sender(queue.outbox, policy)):
            found = await settled(queue, job)
        assert found.state == "failed"
        assert found.attempts[-1].error == "The senders of the last tries disappeared."


async def test_a_sender_that_lost_its_lease_changes_nothing(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace) as queue:
        await queue.ensure()
        job = await ended(queue, hooked(NOWHERE))
        (stale,) = await queue.outbox.take(1, 0, 4)
        (taken,) = await queue.outbox.take(1, 60_000, 4)
        assert (taken.number, taken.failures) == (2, 1)
        attempt = (await delivery(queue, job)).attempts[0]
        assert not await queue.outbox.settle(stale, "failed", attempt)
        assert (await delivery(queue, job)).state == "pending"
        assert await queue.outbox.settle(taken, "delivered", attempt)
        assert not await queue.outbox.settle(taken, "retry", attempt)
        assert (await delivery(queue, job)).state == "delivered"


async def test_records_go_by_themselves(redis_url: str, namespace: str) -> None:
    async with open_queue(redis_url, namespace, QueuePolicy(record_ttl_s=1000)) as queue:
        await queue.ensure()
        job = await ended(queue, hooked(NOWHERE))
        (message,) = await queue.outbox.take(5, 60_000, 4)
        assert await queue.outbox.settle(message, "failed", (await delivery(queue, job)).attempts[0])
        left_ms = await call(queue._redis, "PTTL", queue._keys.delivery(message.id))
        assert 0 < left_ms <= (1000 + queue.policy.result_ttl_s) * 1000
        rest = [name async for name in queue._redis.scan_iter(f"{queue._keys.prefix}deliver*")]
        assert {await call(queue._redis, "PTTL", name) > 0 for name in rest} == {True}
        assert abs((await delivery(queue, job)).at_ms / 1000 - time.time()) < 60
