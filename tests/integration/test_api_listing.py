"""GET /jobs over a real Redis: filters, pages, links, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from app.api.deps import Services
from app.jobs.job import Job
from tests.support.api import api_settings, running_api
from tests.support.jobs import make_job

pytestmark = pytest.mark.anyio

AT_MS = 1_800_000_000_000  # 2027-01-15T08:00:00Z


@dataclass
class Api:
    client: httpx.AsyncClient
    services: Services

    async def submit(self, at_ms: int = AT_MS, **changes: Any) -> Job:
        return await self.services.queue.submit(replace(make_job(), created_ms=at_ms, **changes), b"photo")

    async def ids(self, **params: Any) -> list[str]:
        answer = await self.client.get("/jobs", params=params)
        assert answer.status_code == 200, answer.text
        return [job["id"] for job in answer.json()["jobs"]]


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        yield Api(client, services)


async def test_next_links_lead_over_all_jobs_with_the_same_filters(api: Api) -> None:
    jobs = [await api.submit(AT_MS + number, priority="batch") for number in range(7)]
    for at_ms in (1, 100):
        await api.submit(AT_MS + at_ms)
    path: str | None = "/jobs?priority=batch&limit=3&state=queued&state=running&created_since=2027-01-15T08:00:00Z"
    found: list[str] = []
    sizes: list[int] = []
    while path is not None:
        answer = await api.client.get(path)
        assert answer.headers["cache-control"] == "no-store"
        page = answer.json()
        path = page["links"]["next"]
        assert (path is None) == (page["next_cursor"] is None)
        assert answer.headers.get("link") == (None if path is None else f'<{path}>; rel="next"')
        found += [job["id"] for job in page["jobs"]]
        sizes.append(len(page["jobs"]))
        await api.submit(AT_MS + 50, priority="batch")  # arrives above, and moves nothing
    assert found == [job.id for job in reversed(jobs)]
    assert sizes == [3, 3, 1]


async def test_filters_of_the_wire(api: Api) -> None:
    batch = await api.submit(AT_MS, priority="batch")
    over = await api.submit(AT_MS + 1000)
    await api.services.queue.cancel(over.id)
    waits = await api.submit(AT_MS + 2000)
    await api.submit(AT_MS + 3000, tenant="somebody else")
    assert await api.ids() == [waits.id, over.id, batch.id]
    assert await api.ids(state="canceled") == [over.id]
    assert await api.ids(state="canceled,queued") == await api.ids(state=["canceled", "queued"])
    assert await api.ids(state="queued", priority="interactive") == [waits.id]
    assert await api.ids(model="small") == [waits.id, over.id, batch.id]
    assert await api.ids(model="night") == []
    assert await api.ids(created_since="2027-01-15T08:00:01Z") == [waits.id, over.id]
    assert await api.ids(created_until="2027-01-15T09:00:01+01:00") == [batch.id]
    assert await api.ids(created_until="9999-12-31T23:59:59Z", created_since="0001-01-01T00:00:00Z", limit=2) == [
        waits.id,
        over.id,
    ]


async def test_job_tells_its_place_in_the_queue(api: Api) -> None:
    jobs = [await api.submit(AT_MS + number) for number in range(3)]
    listed = (await api.client.get("/jobs")).json()["jobs"]
    assert [job["position"] for job in listed] == [3, 2, 1]
    await api.services.queue.cancel(jobs[0].id)
    alone = (await api.client.get(f"/jobs/{jobs[2].id}")).json()
    assert (alone["position"], alone["priority"], alone["state"]) == (2, "interactive", "queued")
    assert alone["links"]["events"] == f"/jobs/{jobs[2].id}/events"
    (claim,) = await api.services.queue.claim("ada", 1, 0)
    assert (await api.client.get(f"/jobs/{claim.job_id}")).json()["position"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("state=done", "state"),
        ("state=queued,done&state=running", "state"),
        ("priority=urgent", "priority"),
        ("created_since=yesterday", "created_since"),
        ("created_since=2027-01-15T08:00:00", "created_since"),
        ("cursor=x", "cursor"),
        ("cursor=MTIz", "cursor"),
        ("cursor=%C3%A4", "cursor"),
        ("colour=red", "colour"),
    ],
)
async def test_what_is_not_valid_is_named(api: Api, query: str, field: str) -> None:
    answer = await api.client.get(f"/jobs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_longest_page(api: Api) -> None:
    jobs = [await api.submit(AT_MS + number) for number in range(201)]
    page = (await api.client.get("/jobs?limit=200")).json()
    assert len(page["jobs"]) == 200
    last = (await api.client.get("/jobs", params={"cursor": page["next_cursor"]})).json()
    assert [job["id"] for job in last["jobs"]] == [jobs[0].id]
    assert last["links"]["next"] is None
