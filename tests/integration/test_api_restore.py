"""POST /restore and what follows, over a real Redis."""

from __future__ import annotations

import asyncio
import time

import httpx
import numpy as np
import pytest

from app.errors import DeviceMemoryError, InvalidImageError
from app.images import ImageLimits, decode
from app.jobs.queue import Claim
from tests.support import sample_photos as samples
from tests.support.api import CAPTION, api_settings, running_api, until_state, working

pytestmark = pytest.mark.anyio


def assert_is_negative(data: bytes, of: bytes) -> None:
    expected = 255 - decode(of, ImageLimits()).rgb.astype(float)
    assert np.abs(decode(data, ImageLimits()).rgb - expected).mean() < 6


async def test_form_upload_is_restored_step_by_step(redis_url: str, namespace: str) -> None:
    photo = samples.jpeg()
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        answer = await client.post(
            "/restore", files={"image": ("a.jpg", photo, "image/jpeg")}, data={"quality": "fast", "seed": "7"}
        )
        assert answer.status_code == 202
        job = answer.json()
        assert answer.headers["location"] == job["links"]["self"] == f"/jobs/{job['id']}"
        assert answer.headers["x-job-id"] == job["id"]
        assert int(answer.headers["retry-after"]) >= 1
        assert "preference-applied" not in answer.headers
        assert job["state"] == "queued"
        assert job["input"] == {"media_type": "image/jpeg", "width": 48, "height": 32, "bytes": len(photo)}
        assert job["options"] == {
            "quality": "fast", "steps": None, "seed": 7, "caption": None, "format": None, "model": None,
            "kinds": None, "start_within": None, "finish_within": None, "photo_metadata": None, "quality_factor": None,
            "output_url": None,
        }  # fmt: skip
        assert job["model"] is None
        polled = await client.get(job["links"]["self"])
        assert polled.status_code == 200
        assert polled.headers["retry-after"]
        early = await client.get(job["links"]["result"])
        assert (early.status_code, early.json()["code"]) == (409, "result_not_ready")
        assert early.json()["state"] == "queued"
        assert early.headers["retry-after"]
        async with working(services.queue):
            done = await until_state(client, job["links"]["self"], "succeeded", "failed")
        assert done["state"] == "succeeded"
        assert done["progress"] == 1
        assert (done["step"], done["steps_total"]) == (2, 2)
        assert done["caption"] == CAPTION
        assert done["degradations"][0] == {"kind": "rain", "probability": 0.9, "severity": 0.6}
        assert done["error"] is None
        assert done["timings"]["finished_at"].endswith("Z")
        assert done["timings"]["running_s"] >= 0
        assert "retry-after" not in (await client.get(job["links"]["self"])).headers
        result = await client.get(done["links"]["result"])
        assert result.status_code == 200
        assert result.headers["content-type"] == "image/jpeg"
        assert int(result.headers["content-length"]) == len(result.content)
        assert result.headers["content-disposition"].endswith('.jpg"')
        assert_is_negative(result.content, photo)
        again = await client.get(done["links"]["result"], headers={"If-None-Match": f'"x", {result.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        canceled = await client.delete(job["links"]["cancel"])
        assert (canceled.status_code, canceled.json()["state"]) == (200, "succeeded")


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", "image/x-anything", None])
async def test_bare_body_with_wait_gives_the_photo_itself(
    redis_url: str, namespace: str, content_type: str | None
) -> None:
    photo = samples.png()
    headers = {"Prefer": "respond-async, wait=20"} | ({"Content-Type": content_type} if content_type else {})
    headers["If-None-Match"] = "*"  # says nothing about a photo that there is only now
    async with running_api(api_settings(redis_url, namespace)) as (client, services), working(services.queue):
        answer = await client.post("/restore?format=webp&steps=3", content=photo, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["preference-applied"] == "wait=20"
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["content-disposition"].endswith('.webp"')
        job = (await client.get(f"/jobs/{answer.headers['x-job-id']}")).json()
        assert job["options"]["steps"] == 3
        assert answer.headers["content-location"] == job["links"]["result"]
        assert f"<{job['links']['self']}>" in answer.headers["link"]
        assert_is_negative(answer.content, photo)


async def test_wait_ends_with_the_job_when_time_is_up_and_is_capped(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, max_wait_s=1)) as (client, _):
        started = time.monotonic()
        answer = await client.post("/restore", content=samples.png(), headers={"Prefer": "wait=500"})
        assert 0.9 < time.monotonic() - started < 60  # and not 500
        assert answer.status_code == 202
        assert answer.headers["preference-applied"] == "wait=1"
        assert answer.headers["location"] == answer.json()["links"]["self"]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (InvalidImageError("the pixels make no sense"), 422),
        (DeviceMemoryError("no room"), 503),
        (RuntimeError("boom"), 500),
    ],
)
async def test_failed_job_is_a_problem(redis_url: str, namespace: str, failure: Exception, status: int) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        async with working(services.queue, lambda _claim: failure):
            answer = await client.post("/restore", content=samples.png(), headers={"Prefer": "wait=20"})
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "job_failed"
        assert answer.json()["error_code"] == getattr(failure, "code", "restoration_failed")
        path = f"/jobs/{answer.headers['x-job-id']}"
        job = (await client.get(path)).json()
        assert job["state"] == "failed"
        assert job["error"]["detail"] == str(failure)
        later = await client.get(f"{path}/result")
        assert (later.status_code, later.json()["code"]) == (409, "job_failed")


async def test_queued_job_is_canceled_at_once(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        job = (await client.post("/restore", content=samples.png())).json()
        answer = await client.delete(job["links"]["cancel"])
        assert (answer.status_code, answer.json()["state"]) == (200, "canceled")
        assert (await client.delete(job["links"]["cancel"])).json()["state"] == "canceled"
        result = await client.get(job["links"]["result"])
        assert (result.status_code, result.json()["code"]) == (409, "job_canceled")


async def test_result_past_its_time_is_gone(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, result_ttl_s=1)) as (client, services):
        async with working(services.queue):
            answer = await client.post("/restore", content=samples.png(), headers={"Prefer": "wait=20"})
        path = f"/jobs/{answer.headers['x-job-id']}"
        await until_state(client, path, "expired")
        result = await client.get(f"{path}/result")
        assert (result.status_code, result.json()["code"]) == (410, "result_gone")


async def test_full_queue_is_said_with_retry_after(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, max_queued=1)) as (client, _):
        assert (await client.post("/restore", content=samples.png())).status_code == 202
        answer = await client.post("/restore", content=samples.png())
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_full")
        assert answer.json()["retryable"] is True
        assert int(answer.headers["retry-after"]) >= 1


async def test_mask_reaches_the_worker(redis_url: str, namespace: str) -> None:
    mask = samples.png(mode="L")
    masks: list[bytes | None] = []
    async with running_api(api_settings(redis_url, namespace)) as (client, services):

        def keep_mask(claim: Claim) -> bytes:
            masks.append(claim.mask)
            return claim.image

        async with working(services.queue, keep_mask):
            files = {"image": ("a.png", samples.png()), "mask": ("m.png", mask)}
            answer = await client.post("/restore", files=files, headers={"Prefer": "wait=20"})
        assert answer.status_code == 200
        assert masks == [mask]


async def test_options_of_query_and_form_are_joined(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        files = {"image": ("a.png", samples.png())}
        data = {"steps": "5", "caption": " line\nbreak\0 ", "format": "", "quality": "best", "finish_within": "30"}
        answer = await client.post("/restore?seed=3&quality=best&start_within=7.5", files=files, data=data)
        assert answer.status_code == 202
        assert answer.json()["options"] == {
            "quality": "best",
            "steps": 5,
            "seed": 3,
            "caption": "line break",
            "format": None,
            "model": None,
            "kinds": None,
            "start_within": 7.5,
            "finish_within": 30.0,
            "photo_metadata": None,
            "quality_factor": None,
            "output_url": None,
        }


async def test_caller_who_leaves_while_waiting_costs_nothing(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        with pytest.raises(httpx.TimeoutException):
            await asyncio.wait_for(_impatient(client), 5)
        async with working(services.queue):
            deadline = asyncio.get_running_loop().time() + 10
            while sum((await services.queue.depth()).values()):
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.01)


async def _impatient(client: httpx.AsyncClient) -> None:
    # The in-process transport knows no time limits, so the caller's is acted out by cancelling.
    try:
        await asyncio.wait_for(client.post("/restore", content=samples.png(), headers={"Prefer": "wait=30"}), 0.5)
    except asyncio.TimeoutError as error:
        raise httpx.ReadTimeout("gave up") from error
