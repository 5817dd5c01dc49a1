"""Keys and tenants over the real API and a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from app.access.keyring import CACHE_S, Keyring
from app.access.keys import digest_of, new_token
from app.api.app import create_app
from app.api.deps import Services
from app.jobs.batches import BatchEntry, new_batch_id
from app.jobs.job import RestoreOptions
from app.jobs.keys import Keys
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api, until_state, working

pytestmark = pytest.mark.anyio


@dataclass
class Api:
    client: httpx.AsyncClient
    services: Services

    async def headers(self, tenant: str = "acme", *scopes: str) -> dict[str, str]:
        wanted = frozenset(scopes or ("jobs:read", "jobs:write"))
        _, token = await self.services.access.keyring.create("test", tenant, wanted)
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with running_api(api_settings(redis_url, namespace, open_access=False)) as (client, services):
        yield Api(client, services)


async def test_without_a_key_only_what_is_for_everybody_answers(api: Api) -> None:
    for path in ("/healthz", "/", "/web/app.js", "/docs", "/openapi.json", "/errors"):
        assert (await api.client.get(path)).status_code == 200, path
    assert (await api.client.get("/readyz")).json()["code"] == "not_ready"
    app = create_app(api_settings("redis://127.0.0.1:1", ""))
    paths = app.openapi()["paths"]
    assert len(paths) > 8
    for path in set(paths) - {"/healthz", "/readyz"}:
        for method in paths[path]:
            answer = await api.client.request(method, path.replace("{", "").replace("}", ""))
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == 'Bearer realm="vlmir"'
            assert method == "head" or answer.json()["code"] == "authentication_required"
    assert (await api.client.get("/nothing/here")).status_code == 401
    assert (await api.client.get("/web/../jobs")).status_code in (401, 404)


async def test_key_opens_the_routes_that_its_scopes_name(api: Api) -> None:
    reader, writer = await api.headers("acme", "jobs:read"), await api.headers("acme", "jobs:write")
    assert (await api.client.get("/jobs", headers=reader)).status_code == 200
    refused = await api.client.post("/restore", content=samples.png(), headers=reader)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert refused.headers["www-authenticate"] == 'Bearer realm="vlmir", error="insufficient_scope", scope="jobs:write"'
    assert (await api.client.get("/jobs", headers=writer)).status_code == 403
    assert (await api.client.post("/restore", content=samples.png(), headers=writer)).status_code == 202
    assert (await api.client.get("/metrics", headers=writer)).status_code == 403
    for scope in ("metrics:read", "admin"):
        assert (await api.client.get("/metrics", headers=await api.headers("ops", scope))).status_code == 200
    token = reader["Authorization"].removeprefix("Bearer ")
    assert (await api.client.get("/jobs", headers={"X-API-Key": token})).status_code == 200
    assert (await api.client.get("/jobs", headers={"Authorization": f"bearer  {token}"})).status_code == 200


async def test_wrong_credentials_are_refused(api: Api) -> None:
    good = (await api.headers())["Authorization"]
    wrong: list[dict[str, str]] = [
        {"Authorization": f"Bearer {new_token()}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": good[:-1]},
        {"X-API-Key": ""},
        {"X-API-Key": new_token(), "Authorization": good},
    ]
    for headers in wrong:
        answer = await api.client.get("/jobs", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key"), headers
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_everything_of_another_tenant_reads_as_if_it_were_not_there(api: Api) -> None:
    ours, theirs = await api.headers("acme"), await api.headers("umbrella")
    key = {"Idempotency-Key": '"same"'}
    job = (await api.client.post("/restore", content=samples.png(), headers=ours | key)).json()
    other = (await api.client.post("/restore", content=samples.png(), headers=theirs | key)).json()
    assert job["id"] != other["id"]
    assert (await api.services.queue.get(job["id"])).tenant == "acme"
    async with working(api.services.queue):
        await until_state_of(api, job["links"]["self"], ours)
    links = job["links"]
    asked = [("GET", links["self"]), ("GET", links["result"]), ("GET", links["events"]), ("DELETE", links["cancel"])]
    for method, path in asked:
        assert (await api.client.request(method, path, headers=ours)).status_code == 200, path
        hidden = await api.client.request(method, path, headers=theirs)
        absent = await api.client.request(method, path.replace(job["id"], "0" * 32), headers=theirs)
        assert hidden.status_code == absent.status_code == 404, path
        assert told(hidden, job["id"]) == told(absent, "0" * 32)
    assert (await api.client.head(links["result"], headers=theirs)).status_code == 404
    listed = (await api.client.get("/jobs", headers=theirs)).json()["jobs"]
    assert [item["id"] for item in listed] == [other["id"]]
    assert (await api.client.get(links["self"], headers=theirs)).status_code == 404

    batch = new_batch_id()
    await api.services.queue.batches.create(batch, "acme", 1, [BatchEntry(RestoreOptions(), image_url="https://a.b/c")])
    for method, path in (("GET", ""), ("GET", "/entries"), ("DELETE", "")):
        answer = await api.client.request(method, f"/batches/{batch}{path}", headers=theirs)
        assert (answer.status_code, answer.json()["code"]) == (404, "batch_not_found")
    assert (await api.client.get(f"/batches/{batch}", headers=ours)).status_code == 200


async def until_state_of(api: Api, path: str, headers: dict[str, str]) -> None:
    api.client.headers.update(headers)
    await until_state(api.client, path, "succeeded")
    for name in headers:
        del api.client.headers[name]


def told(answer: httpx.Response, job_id: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    body.pop("request_id")
    return {name: str(value).replace(job_id, "ID") for name, value in body.items()}


async def test_where_no_key_is_needed_ours_count_and_others_are_passed_over(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        api = Api(client, services)
        assert (await client.get("/jobs")).status_code == 200
        assert (await client.get("/jobs", headers={"Authorization": "Basic dXNlcjpwYXNz"})).status_code == 200
        headers = await api.headers("acme")
        job = (await client.post("/restore", content=samples.png(), headers=headers)).json()
        assert (await client.get(job["links"]["self"])).status_code == 404
        assert (await client.get(job["links"]["self"], headers=headers)).status_code == 200
        assert (await client.get("/jobs", headers={"Authorization": f"Bearer {new_token()}"})).status_code == 401


async def test_pages_of_elsewhere_do_not_get_in_where_no_key_is_needed(redis_url: str, namespace: str) -> None:
    rebound, form = {"Host": "evil.example:8000"}, {"Origin": "https://evil.example"}
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        for method, headers in (("GET", rebound), ("POST", rebound), ("POST", form), ("POST", {"Origin": "null"})):
            refused = await client.request(method, "/jobs" if method == "GET" else "/restore", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "foreign_page"), headers
        assert (await client.get("/healthz", headers=rebound)).status_code == 200
        own = {"Host": "localhost:8000", "Origin": "http://localhost:8000"}
        assert (await client.post("/restore", content=samples.png(), headers=own)).status_code == 202
        key = await Api(client, services).headers()
        assert (await client.get("/jobs", headers=rebound | key)).status_code == 200  # which no stranger knows
    for settings in ({"open_access": True}, {"cors_origins": form["Origin"]}):
        async with running_api(api_settings(redis_url, namespace, **settings)) as (client, _):
            assert (await client.post("/restore", content=samples.png(), headers=form)).status_code == 202


async def test_other_addresses_need_keys_without_being_told_so(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, host="0.0.0.0")) as (client, _):  # noqa: S104
        assert (await client.get("/jobs")).status_code == 401
    async with running_api(api_settings(redis_url, namespace, host="0.0.0.0", open_access=True)) as (client, _):  # noqa: S104
        assert (await client.get("/jobs")).status_code == 200


async def test_keys_are_revoked_expire_and_leave_only_a_digest(api: Api, namespace: str) -> None:
    now_s = [1000.0]
    keyring = Keyring(api.services.access.redis, Keys(namespace), lambda: now_s[0])
    key, token = await keyring.create("short", "acme", frozenset({"admin"}), lifetime_s=60)
    other = await Api(api.client, replace(api.services)).headers()
    assert (await keyring.find(token)).tenant == "acme"
    assert [item.last_used_ms for item in await keyring.all() if item.id == key.id] == [1_000_000]
    now_s[0] += 59
    assert (await keyring.find(token)).id == key.id
    now_s[0] += 1
    with pytest.raises(Exception, match="expired"):
        await keyring.find(token)
    revoked = await keyring.revoke(key.id)
    assert revoked is not None
    assert revoked.revoked_ms == 1_060_000
    with pytest.raises(Exception, match="revoked"):
        await keyring.find(token)
    assert await keyring.revoke("nothing") is None

    elsewhere = Keyring(api.services.access.redis, Keys(namespace), lambda: now_s[0])
    again = other["Authorization"].removeprefix("Bearer ")
    other_id = (await elsewhere.find(again)).id
    await keyring.revoke(other_id)
    assert (await elsewhere.find(again)).id == other_id  # remembered, for as long as the page says
    now_s[0] += CACHE_S
    with pytest.raises(Exception, match="revoked"):
        await elsewhere.find(again)

    stored = b""
    for name in await api.services.access.redis.keys(f"{Keys(namespace).prefix}apikey*"):
        if await api.services.access.redis.type(name) == b"hash":
            stored += repr(await api.services.access.redis.hgetall(name)).encode()
    assert digest_of(token).encode() in stored
    assert token.encode() not in stored
    assert token[16:].encode() not in stored
