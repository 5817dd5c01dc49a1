"""What random requests found: answers that did not keep what the description of the API says."""

from __future__ import annotations

import re

import pytest

from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/jobs/" + "0" * 32, "GET, DELETE"),
        ("/jobs/" + "0" * 32 + "/result", "GET, HEAD"),
        ("/batches/" + "0" * 32, "GET, DELETE"),
        ("/restore", "POST"),
        ("/jobs", "GET"),
    ],
)
async def test_allow_names_every_method_of_a_path(redis_url: str, namespace: str, path: str, methods: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        answer = await client.request("PATCH", path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)
        assert methods in answer.json()["detail"]


@pytest.mark.parametrize("moment", ["0.5", "1767268800", "2026-01-01", "2026-01-01 12:00:00Z", "2026-01-01T12:00:00"])
async def test_moments_are_those_of_rfc_3339(redis_url: str, namespace: str, moment: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        answer = await client.get("/jobs", params={"created_until": moment})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "created_until")
        good = await client.get("/jobs", params={"created_until": "2026-01-01T12:00:00.5+01:00"})
        assert good.status_code == 200


async def test_both_event_ids_must_be_valid(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        job = (await client.post("/restore", content=samples.png())).json()
        answer = await client.get(
            job["links"]["events"], params={"last_event_id": "null"}, headers={"Last-Event-ID": "1-0"}
        )
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "last_event_id")


async def test_cursor_has_the_form_that_is_described(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        for _ in range(2):
            await client.post("/restore", content=samples.png())
        page = (await client.get("/jobs?limit=1")).json()
        description = (await client.get("/openapi.json")).json()["paths"]["/jobs"]["get"]["parameters"]
        pattern = next(item["schema"]["pattern"] for item in description if item["name"] == "cursor")
        assert re.fullmatch(pattern, page["next_cursor"])
        assert len((await client.get(page["links"]["next"])).json()["jobs"]) == 1
