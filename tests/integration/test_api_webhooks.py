"""Webhooks as callers see them: asked for with a job or a batch, received, and looked up."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest

from app.client import verify_webhook
from app.errors import RestorationFailedError
from app.fetch.fetcher import ImageFetcher
from app.jobs.webhook import WEBHOOK_EVENTS
from app.settings import Settings
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api, until_state, working
from tests.support.photo_host import loopback_policy, photo_host, resolving, response
from tests.support.webhook_host import SECRET, WebhookHost, in_turn, webhook_host

pytestmark = pytest.mark.anyio
PHOTO = samples.png()
OTHER_SECRET = "whsec_" + base64.b64encode(b"the one that was used before").decode()


def settings(redis_url: str, namespace: str, **more: Any) -> Settings:
    return api_settings(redis_url, namespace, webhook_secrets=SECRET, webhook_schedule_s="0.02,0.02", **more)


def fetcher() -> ImageFetcher:
    return ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))


async def until_received(host: WebhookHost, count: int) -> None:
    deadline = asyncio.get_running_loop().time() + 20
    while len(host.received) < count:
        assert asyncio.get_running_loop().time() < deadline, f"{len(host.received)} of {count} webhooks came"
        await asyncio.sleep(0.01)


async def until_state_of_delivery(client: httpx.AsyncClient, path: str, state: str) -> dict[str, Any]:
    deadline = asyncio.get_running_loop().time() + 20
    while True:
        body: dict[str, Any] = (await client.get(path)).json()
        if [item["state"] for item in body["deliveries"]] == [state]:
            found: dict[str, Any] = body["deliveries"][0]
            return found
        assert asyncio.get_running_loop().time() < deadline, body
        await asyncio.sleep(0.01)


async def test_form_field_asks_and_the_job_comes_as_it_is_shown(redis_url: str, namespace: str) -> None:
    given = settings(redis_url, namespace, public_url="https://photos.example/api/")
    async with (
        webhook_host(in_turn("503 Later", "200 OK")) as host,
        running_api(given, fetcher()) as (client, services),
    ):
        data = {"webhook": host.url("/hook?token=secret"), "metadata": '{"order": 7}'}
        answer = await client.post("/restore", files={"image": ("a.png", PHOTO)}, data=data)
        job = answer.json()
        assert answer.status_code == 202
        assert job["webhook"] == {"host": f"hooks.example:{host.port}", "events": list(WEBHOOK_EVENTS)}
        assert (await client.get(job["links"]["deliveries"])).json() == {"deliveries": []}
        async with working(services.queue):
            job = await until_state(client, job["links"]["self"], "succeeded")
            found = await until_state_of_delivery(client, job["links"]["deliveries"], "delivered")
        event = verify_webhook(host.received[-1].headers, host.received[-1].body, SECRET)
        assert (event.type, event.id, event.timestamp) == (
            "job.succeeded", found["id"], job["timings"]["finished_at"][:23] + "Z"
        )  # fmt: skip
        links = event.data["links"]
        assert links["result"] == f"https://photos.example/api/jobs/{job['id']}/result"
        assert set(links) == set(job["links"])
        assert {**event.data, "links": None} == {**job, "links": None}
        assert event.job is not None
        assert event.job.id == job["id"]
        assert [item["status"] for item in found["attempts"]] == [503, 200]
        assert [item["number"] for item in found["attempts"]] == [1, 2]
        assert (found["type"], found["host"], found["next_try_at"]) == (
            "job.succeeded",
            f"hooks.example:{host.port}",
            None,
        )
        shown = (await client.get(job["links"]["deliveries"])).text + (await client.get("/jobs")).text
        assert "token" not in shown


async def test_json_names_events_and_a_failure_is_told(redis_url: str, namespace: str) -> None:
    async with (
        photo_host(lambda _path, writer: write(writer)) as photos,
        webhook_host() as host,
        running_api(settings(redis_url, namespace), fetcher()) as (client, services),
    ):
        body = {
            "image_url": f"http://photos.example:{photos.port}/a.png",
            "webhook": host.url(),
            "webhook_events": ["job.failed", "job.canceled"],
        }
        good = (await client.post("/restore", json=body)).json()
        assert good["webhook"]["events"] == ["job.failed", "job.canceled"]
        canceled = (await client.post("/restore", json=body)).json()
        await client.delete(canceled["links"]["self"])
        async with working(services.queue):
            await until_state(client, good["links"]["self"], "succeeded")
        failing = (await client.post("/restore", json=body | {"webhook_events": None})).json()
        async with working(services.queue, lambda _claim: RestorationFailedError("No luck.")):
            await until_state(client, failing["links"]["self"], "failed")
        await until_received(host, 2)
        told = {item.document["data"]["id"]: item.document for item in host.received}
        assert {job: item["type"] for job, item in told.items()} == {
            canceled["id"]: "job.canceled",
            failing["id"]: "job.failed",
        }
        assert told[failing["id"]]["data"]["error"] == {"code": "restoration_failed", "detail": "No luck."}


async def write(writer: asyncio.StreamWriter) -> None:
    writer.write(response(PHOTO))


async def test_whole_batch_and_single_entries_may_ask(redis_url: str, namespace: str) -> None:
    async def give(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"", "404 Gone") if path.startswith("/missing") else response(PHOTO))

    async with (
        photo_host(give) as photos,
        webhook_host() as all_host,
        webhook_host() as one_host,
        running_api(settings(redis_url, namespace), fetcher()) as (client, services),
    ):
        base = f"http://photos.example:{photos.port}"
        body = {
            "options": {"webhook": all_host.url()},
            "entries": [
                f"{base}/1.png",
                {"image_url": f"{base}/2.png", "webhook": one_host.url()},
                {"image_url": f"{base}/missing.png", "metadata": {"order": 3}},
            ],
        }
        batch = (await client.post("/restore/batch", json=body)).json()
        async with working(services.queue):
            await until_received(all_host, 2)
            await until_received(one_host, 1)
        events = {item.document["type"]: item.document["data"] for item in all_host.received}
        assert set(events) == {"job.succeeded", "entry.refused"}
        assert events["job.succeeded"]["batch"] == batch["id"]
        assert events["entry.refused"] == {
            "batch": batch["id"],
            "index": 2,
            "state": "refused",
            "job": None,
            "error": {"code": "image_fetch_failed", "detail": events["entry.refused"]["error"]["detail"]},
            "metadata": {"order": 3},
            "links": {"batch": batch["links"]["self"], "entries": f"{batch['links']['entries']}?start=2&limit=1"},
        }
        assert one_host.received[0].document["type"] == "job.succeeded"
        files = [("image", ("a.png", PHOTO)), ("image", ("b.png", PHOTO))]
        await client.post("/restore/batch", files=files, data={"webhook": one_host.url("/form")})
        async with working(services.queue):
            await until_received(one_host, 3)
        assert [item.path for item in one_host.received] == ["/hook", "/form", "/form"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hooks.example/", "only https"),
        ("ftp://hooks.example/", "scheme"),
        ("https://user:secret@hooks.example/", "credentials"),
        ("https://127.0.0.1/hook", "loopback"),
        ("https://[::1]/hook", "loopback"),
        ("https://169.254.169.254/latest", "link-local"),
        ("https://2130706433/", "unusual form"),
        ("https://localhost/", "name of this machine"),
        ("https://hooks.example:25/", "port"),
        ("hooks", "https"),
    ],
)
async def test_urls_that_are_never_sent_to_are_refused_at_once(
    redis_url: str, namespace: str, url: str, reason: str
) -> None:
    async with running_api(settings(redis_url, namespace)) as (client, services):
        for target, request in (
            ("webhook", {"files": {"image": ("a.png", PHOTO)}, "data": {"webhook": url}}),
            ("entries[0].webhook", {"json": {"entries": [{"image_url": "https://a.example/", "webhook": url}]}}),
        ):
            answer = await client.post("/restore" if target == "webhook" else "/restore/batch", **request)
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (422, "invalid_option")
            assert problem["errors"][0]["field"] == target
            assert reason in problem["errors"][0]["message"]
        assert sum((await services.queue.depth()).values()) == 0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"webhook": "https://hooks.example/", "webhook_events": "job.started"}, "webhook_events"),
        ({"webhook": "https://hooks.example/", "webhook_events": ","}, "webhook_events"),
        ({"webhook_events": "job.failed"}, "webhook_events"),
        ({"webhook": "https://hooks.example/" + "x" * 3000}, "webhook"),
    ],
)
async def test_events_that_are_none_are_refused(
    redis_url: str, namespace: str, options: dict[str, str], field: str
) -> None:
    async with running_api(settings(redis_url, namespace)) as (client, _services):
        answer = await client.post("/restore", files={"image": ("a.png", PHOTO)}, data=options)
        assert answer.status_code == 422
        assert [item["field"] for item in answer.json()["errors"]] == [field]


async def test_idempotency_keys_tell_webhooks_apart(redis_url: str, namespace: str) -> None:
    async with running_api(settings(redis_url, namespace)) as (client, _services):
        statuses = []
        for url in ("https://a.example/", "https://a.example/", "https://b.example/"):
            request: dict[str, Any] = {"files": {"image": ("a.png", PHOTO)}, "data": {"webhook": url}}
            answer = await client.post("/restore", headers={"Idempotency-Key": '"k"'}, **request)
            statuses.append(answer.status_code)
        assert statuses == [202, 202, 422]


async def test_deliveries_of_unknown_jobs_are_404_and_none_without_a_webhook(redis_url: str, namespace: str) -> None:
    async with running_api(settings(redis_url, namespace)) as (client, services):
        assert (await client.get(f"/jobs/{'0' * 32}/deliveries")).status_code == 404
        job = (await client.post("/restore", files={"image": ("a.png", PHOTO)})).json()
        assert job["webhook"] is None
        async with working(services.queue):
            await until_state(client, job["links"]["self"], "succeeded")
        assert (await client.get(job["links"]["deliveries"])).json() == {"deliveries": []}


async def test_one_process_accepts_and_another_sends_with_both_secrets(redis_url: str, namespace: str) -> None:
    quiet = settings(redis_url, namespace, webhooks_at_once=0)
    loud = api_settings(redis_url, namespace, webhook_secrets=f"{SECRET},{OTHER_SECRET}")
    async with webhook_host() as host:
        async with running_api(quiet, fetcher()) as (client, services):
            data = {"webhook": host.url()}
            job = (await client.post("/restore", files={"image": ("a.png", PHOTO)}, data=data)).json()
            async with working(services.queue):
                await until_state(client, job["links"]["self"], "succeeded")
            assert await services.queue.outbox.waiting() == 1
        async with running_api(loud, fetcher()) as (client, _services):
            await until_state_of_delivery(client, job["links"]["deliveries"], "delivered")
        (request,) = host.received
        for secret in (SECRET, OTHER_SECRET):
            assert verify_webhook(request.headers, request.body, secret).type == "job.succeeded"


async def test_description_tells_webhooks(redis_url: str, namespace: str) -> None:
    async with running_api(settings(redis_url, namespace)) as (client, _services):
        schema = (await client.get("/openapi.json")).json()
        operation = schema["webhooks"]["job"]["post"]
        assert {item["name"] for item in operation["parameters"]} == {
            "webhook-id", "webhook-timestamp", "webhook-signature"
        }  # fmt: skip
        assert "422" not in operation["responses"]
        assert SECRET not in str(schema)
        references = set(find_references(schema))
        assert {item.rpartition("/")[2] for item in references} <= set(schema["components"]["schemas"])


def find_references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [item for part in value.values() for item in find_references(part)]
    return [item for part in value for item in find_references(part)] if isinstance(value, list) else []
