"""A request's trace goes with its job: to the worker, and back in events."""

from __future__ import annotations

import pytest

from app.jobs.batch import BatchEntry, decode_entry, encode_entry
from app.jobs.job import RestoreOptions
from app.worker.held import HeldJob
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api, until_state, working
from tests.support.server import all_events, live_api

pytestmark = pytest.mark.anyio
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


async def test_trace_is_of_job_claim_worker_log_and_events(redis_url: str, namespace: str) -> None:
    async with live_api(api_settings(redis_url, namespace)) as api:
        job = (await api.client.post("/restore", content=samples.png(), headers=SENT)).json()
        assert job["traceparent"] == SENT["traceparent"]
        (claim,) = await api.services.queue.claim("ada", 1, 0)
        assert claim.job.traceparent == SENT["traceparent"]
        assert HeldJob(claim).record == {"job_id": job["id"], "trace_id": TRACE}
        await api.services.queue.fail(claim, "restoration_failed", "no")
        events = await all_events(api.client, job["links"]["events"])
        assert len(events) == 3
        assert all(event.data["traceparent"] == SENT["traceparent"] for event in events)


async def test_without_a_valid_one_there_is_none(redis_url: str, namespace: str) -> None:
    async with live_api(api_settings(redis_url, namespace)) as api:
        job = (await api.client.post("/restore", content=samples.png(), headers={"traceparent": "00-0-0-0"})).json()
        assert job["traceparent"] is None
        (claim,) = await api.services.queue.claim("ada", 1, 0)
        assert HeldJob(claim).record == {"job_id": job["id"]}
        await api.services.queue.fail(claim, "restoration_failed", "no")
        events = await all_events(api.client, job["links"]["events"])
        assert not any("traceparent" in event.data for event in events)


async def test_jobs_of_a_batch_have_that_of_its_request(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services), working(services.queue):
        files = [("image", ("a.png", samples.png()))]
        batch = (await client.post("/restore/batch", files=files, headers=SENT)).json()
        await until_state(client, batch["links"]["self"], "done")
        (job,) = (await client.get("/jobs")).json()["jobs"]
        assert job["traceparent"] == SENT["traceparent"]


def test_entries_keep_it() -> None:
    entry = BatchEntry(RestoreOptions(), image_url="https://a.b/c", traceparent=SENT["traceparent"])
    assert decode_entry(encode_entry(entry).encode()) == entry
