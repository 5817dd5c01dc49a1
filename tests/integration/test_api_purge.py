"""DELETE /jobs/{id}?purge=true, and `purge` of the clients."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.client import AsyncVlmirClient, VlmirClient
from app.errors import JobNotFoundError
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api, until_state, working
from tests.support.jobs import make_job
from tests.support.server import live_api

pytestmark = pytest.mark.anyio
KEY = {"Idempotency-Key": '"purged-1"'}


async def test_a_job_that_was_purged_is_not_there_any_more(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        job = (await client.post("/restore", content=samples.png(), headers=KEY)).json()
        links = job["links"]
        async with working(services.queue):
            await until_state(client, links["self"], "succeeded")
        answer = await client.delete(links["cancel"], params={"purge": "true"})
        assert (answer.status_code, answer.content) == (204, b"")
        for path in (links["self"], links["result"], links["events"]):
            gone = await client.get(path)
            assert (gone.status_code, gone.json()["code"]) == (404, "job_not_found")
        assert (await client.get("/jobs")).json()["jobs"] == []
        again = await client.delete(links["cancel"], params={"purge": "true"})
        assert (again.status_code, again.json()["code"]) == (404, "job_not_found")
        # Its key does not start it again.
        repeated = await client.post("/restore", content=samples.png(), headers=KEY)
        assert (repeated.status_code, repeated.json()["code"]) == (404, "job_not_found")


async def test_purging_what_waits_cancels_it_and_no_purge_keeps_the_record(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        job = (await client.post("/restore", content=samples.png())).json()
        strange = await client.delete(job["links"]["self"], params={"purge": "perhaps"})
        assert (strange.status_code, strange.json()["code"]) == (422, "invalid_option")
        assert (await client.delete(job["links"]["self"], params={"purge": "false"})).json()["state"] == "canceled"
        other = (await client.post("/restore", content=samples.png())).json()
        assert (await client.delete(other["links"]["self"], params={"purge": "true"})).status_code == 204
        assert await services.queue.claim("w", 5, 0) == []
        assert (await client.get(job["links"]["self"])).json()["state"] == "canceled"


async def test_photos_that_an_object_store_still_has_are_told(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_yet(*_names: str) -> bool:
        return False

    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        job = (await client.post("/restore", content=samples.png())).json()
        monkeypatch.setattr(services.queue._blobs, "delete", not_yet)
        assert (await client.delete(job["links"]["self"], params={"purge": "true"})).status_code == 202
        assert (await client.get(job["links"]["self"])).status_code == 404


async def test_a_job_of_another_tenant_cannot_be_purged(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        theirs = await services.queue.submit(replace(make_job(), tenant="others"), b"photo")
        answer = await client.delete(f"/jobs/{theirs.id}", params={"purge": "true"})
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
        assert (await services.queue.get(theirs.id)).tenant == "others"


async def test_clients_purge(redis_url: str, namespace: str) -> None:
    async with live_api(api_settings(redis_url, namespace)) as live:
        url = str(live.client.base_url)
        async with AsyncVlmirClient(url) as client:
            job = await client.submit(samples.png())
            following = asyncio.create_task(_follow(client, job.id))
            assert await client.purge(job)
            assert not await client.purge(job.id)
            with pytest.raises(JobNotFoundError):
                await client.job(job.id)
            with pytest.raises(JobNotFoundError):
                await following
            other = await client.submit(samples.png())
        assert await asyncio.to_thread(_purge_twice, url, other.id) == (True, False)


def _purge_twice(url: str, job_id: str) -> tuple[bool, bool]:
    with VlmirClient(url) as client:
        return client.purge(job_id), client.purge(job_id)


async def _follow(client: AsyncVlmirClient, job_id: str) -> None:
    async for _ in client.events(job_id):
        pass
