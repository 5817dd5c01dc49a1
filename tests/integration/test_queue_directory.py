"""The listing of jobs on a real Redis: filters, pages that stand still while jobs come and go, and its bounds."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.jobs.connection import call, connect
from app.jobs.directory import JobFilter, JobPage
from app.jobs.job import Job, JobState, RestoreOptions
from app.jobs.keys import Keys
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import LONG_LEASE_MS, SHORT_LEASE_MS, make_job, open_queue, until

pytestmark = pytest.mark.anyio

ANY = JobFilter()
AT_MS = 1_800_000_000_000


@pytest.fixture
async def queue(redis_url: str, namespace: str) -> AsyncIterator[JobQueue]:
    async with open_queue(redis_url, namespace) as opened:
        yield opened


async def submit(queue: JobQueue, at_ms: int = AT_MS, **changes: object) -> Job:
    return await queue.submit(replace(make_job(), created_ms=at_ms, **changes), b"photo")  # type: ignore[arg-type]


async def walk(queue: JobQueue, wanted: JobFilter = ANY, limit: int = 3, tenant: str = "default") -> list[str]:
    ids: list[str] = []
    after: str | None = None
    while True:
        page = await queue.directory.page(tenant, wanted, limit, after)
        assert len(page.jobs) <= limit
        ids += [item.job.id for item in page.jobs]
        if page.last is None:
            return ids
        after = page.last


async def ids(queue: JobQueue, **wanted: object) -> list[str]:
    return await walk(queue, JobFilter(**wanted))  # type: ignore[arg-type]


async def test_pages_give_every_job_once_newest_first_even_those_of_one_moment(queue: JobQueue) -> None:
    jobs = [await submit(queue, AT_MS + moment) for moment in (0, 1, 1, 1, 1, 1, 1, 1, 2, 3)]
    expected = [job.id for job in sorted(jobs, key=lambda job: (job.created_ms, job.id), reverse=True)]
    for limit in (1, 2, 3, 10, 200):
        assert await walk(queue, limit=limit) == expected
    assert await walk(queue, tenant="nobody") == []


async def test_pages_stand_still_while_jobs_come_go_and_change(queue: JobQueue) -> None:
    jobs = [await submit(queue, AT_MS + number) for number in range(20)]
    first = await queue.directory.page("default", ANY, 5)
    await submit(queue, AT_MS + 100)
    for claim in await queue.claim("ada", 7, 0):
        await queue.fail(claim, "x", "y")
    await queue.cancel(jobs[12].id)
    rest: list[str] = []
    page: JobPage = first
    while page.last is not None:
        await submit(queue, AT_MS + 200)
        page = await queue.directory.page("default", ANY, 5, page.last)
        rest += [item.job.id for item in page.jobs]
    assert [item.job.id for item in first.jobs] + rest == [job.id for job in reversed(jobs)]


async def test_filters(queue: JobQueue) -> None:
    waits = await submit(queue, AT_MS, priority="batch")
    named = await submit(queue, AT_MS + 10, priority="batch", options=RestoreOptions(model="night"))
    canceled = await submit(queue, AT_MS + 20)
    await queue.cancel(canceled.id)
    runs = await submit(queue, AT_MS + 30)
    (claim,) = await queue.claim("ada", 1, 0)
    await queue.progress(claim, 1, 4, model="night")
    other = await submit(queue, AT_MS + 40, tenant="other")
    assert await ids(queue) == [runs.id, canceled.id, named.id, waits.id]
    assert await ids(queue, states=frozenset({JobState.QUEUED})) == [named.id, waits.id]
    assert await ids(queue, states=frozenset({JobState.RUNNING, JobState.CANCELED})) == [runs.id, canceled.id]
    assert await ids(queue, states=frozenset({JobState.FAILED})) == []
    assert await ids(queue, priority="interactive") == [runs.id, canceled.id]
    assert await ids(queue, model="night") == [runs.id, named.id]
    assert await ids(queue, model="small", is_default_model=True) == [canceled.id, waits.id]
    assert await ids(queue, since_ms=AT_MS + 10) == [runs.id, canceled.id, named.id]
    assert await ids(queue, until_ms=AT_MS + 30) == [canceled.id, named.id, waits.id]
    assert await ids(queue, since_ms=AT_MS + 10, until_ms=AT_MS + 11, priority="batch") == [named.id]
    assert await walk(queue, tenant="other") == [other.id]


async def test_job_is_listed_once_wherever_it_goes(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(lease_ms=SHORT_LEASE_MS, max_deliveries=100)
    async with open_queue(redis_url, namespace, policy) as queue:

        async def states() -> list[str]:
            return [item.job.state.value for item in (await queue.directory.page("default", ANY, 200)).jobs]

        await submit(queue)
        assert await states() == ["queued"]
        (claim,) = await queue.claim("ada", 1, 0)
        assert await states() == ["running"]
        await queue.hand_back(claim)
        assert await states() == ["queued"]
        (claim,) = await queue.claim("ada", 1, 0)
        await queue.fail(claim, "x", "y", retryable=True)
        assert await states() == ["queued"]
        await queue.claim("ada", 1, 0)
        (claim,) = await queue.claim("bob", 1, 10_000)  # after a lost lease
        assert await states() == ["running"]
        await queue.finish(claim, b"done", "image/png", caption=None, findings=(), steps_total=1)
        assert await states() == ["succeeded"]


async def test_result_past_its_time_is_found_as_expired(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(lease_ms=LONG_LEASE_MS, result_ttl_s=1)
    async with open_queue(redis_url, namespace, policy) as queue:
        job = await submit(queue)
        (claim,) = await queue.claim("ada", 1, 0)
        await queue.finish(claim, b"done", "image/png", caption=None, findings=(), steps_total=1)

        async def is_expired() -> bool:
            return await ids(queue, states=frozenset({JobState.EXPIRED})) == [job.id]

        await until(is_expired)
        assert await ids(queue, states=frozenset({JobState.SUCCEEDED})) == []
        assert await ids(queue) == [job.id]


async def test_listing_goes_with_the_records(redis_url: str, namespace: str) -> None:
    policy = QueuePolicy(lease_ms=LONG_LEASE_MS, record_ttl_s=1, result_ttl_s=1)
    redis = connect(redis_url)
    async with open_queue(redis_url, namespace, policy) as queue:
        jobs = [await submit(queue, AT_MS + number, tenant="a:b") for number in range(6)]
        (claim,) = await queue.claim("ada", 1, 0)
        await queue.finish(claim, b"done", "image/png", caption=None, findings=(), steps_total=1)
        (claim,) = await queue.claim("ada", 1, 0)
        await queue.fail(claim, "x", "y")
        for job in jobs[2:5]:
            await queue.cancel(job.id)

        async def names() -> set[str]:
            found = await call(redis, "KEYS", f"{Keys(namespace).prefix}*listed*".replace("{", "?").replace("}", "?"))
            return {name.decode().rsplit(":", 1)[1] for name in found}

        assert await names() == {"queued", "succeeded", "failed", "canceled"}

        async def is_pruned() -> bool:  # by the signs of life of workers alone, whether or not anybody asks
            await queue.announce("ada", True, "small", 1000)
            return await names() == {"queued"}

        await until(is_pruned)
        assert await call(redis, "EXISTS", Keys(namespace).unlist) == 0
        assert await walk(queue, tenant="a:b") == [jobs[5].id]
    await redis.aclose()


async def test_rare_jobs_among_many_are_found_over_short_pages(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.directory.LOOK_AT", 7)
    numbers = random.Random(5)
    jobs = [
        await submit(queue, AT_MS + number, priority="batch" if numbers.random() < 0.1 else "interactive")
        for number in range(60)
    ]
    rare = [job.id for job in reversed(jobs) if job.priority == "batch"]
    assert 0 < len(rare) < 20
    page = await queue.directory.page("default", JobFilter(priority="batch"), 50)
    assert len(page.jobs) < len(rare)
    assert page.last is not None
    assert await ids(queue, priority="batch") == rare


async def test_position_in_the_queue(queue: JobQueue) -> None:
    batch = await submit(queue, AT_MS, priority="batch")
    first = await submit(queue, AT_MS + 1)
    second = await submit(queue, AT_MS + 2)

    async def positions() -> dict[str, int | None]:
        page = await queue.directory.page("default", ANY, 10)
        found = {item.job.id: item.position for item in page.jobs}
        assert found == {id_: await queue.directory.position(await queue.get(id_)) for id_ in found}
        return found

    assert await positions() == {first.id: 1, second.id: 2, batch.id: 3}
    await queue.claim("ada", 1, 0)
    assert await positions() == {first.id: None, second.id: 1, batch.id: 2}


async def test_limits_out_of_range_are_refused(queue: JobQueue) -> None:
    for limit in (0, -1, 201):
        with pytest.raises(ValueError, match="1 to 200"):
            await queue.directory.page("default", ANY, limit)
