"""Health, metrics and the page for people."""

from __future__ import annotations

import re

import pytest

from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api, until_state, working

pytestmark = pytest.mark.anyio


async def test_page_is_self_contained_and_locked_down(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        page = await client.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        parts = re.findall(r'(?:src|href)="(web/[^"]+)"', page.text)
        assert len(parts) == 3
        whole = page.text
        for part in parts:
            answer = await client.get(f"/{part}")
            assert answer.status_code == 200
            assert answer.headers["content-security-policy"] == policy
            whole += answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"(?m)//\s.*$", "", whole)  # no address of another host; comments have a blank
        assert "style=" not in page.text  # the policy forbids it
        assert " on" not in re.sub(r">[^<]*<", "><", page.text)  # no inline handlers
        for name in set(re.findall(r'at\("(\w+)"\)', whole)):
            assert f'id="{name}"' in page.text, f"the script looks for #{name}"


async def test_ready_means_redis_and_a_warm_worker(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        before = await client.get("/readyz")
        assert (before.status_code, before.json()["code"]) == (503, "not_ready")
        await services.queue.announce("slow", False, "small", 60_000)
        starting = await client.get("/readyz")
        assert starting.status_code == 503
        assert "loading" in starting.json()["reasons"][0]
        await services.queue.announce("quick", True, "small", 60_000)
        ready = await client.get("/readyz")
        assert ready.status_code == 200
        assert {worker["name"]: worker["ready"] for worker in ready.json()["workers"]} == {"quick": True, "slow": False}


async def test_metrics_count_requests_jobs_and_the_queue(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        job = (await client.post("/restore", content=samples.png())).json()
        await client.post("/restore", content=b"nonsense")
        waiting = (await client.get("/metrics")).text
        assert 'vlmir_jobs_queued{priority="interactive"} 1.0' in waiting
        async with working(services.queue):
            await until_state(client, job["links"]["self"], "succeeded")
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        assert 'vlmir_jobs_queued{priority="interactive"} 0.0' in answer.text
        assert 'vlmir_workers{ready="true"} 1.0' in answer.text
        assert 'vlmir_http_requests_total{method="POST",route="/restore",status="202"}' in answer.text
        assert 'route="/jobs/{job_id}"' in answer.text
        assert 'vlmir_jobs_refused_total{code="unsupported_format"}' in answer.text
        assert job["id"] not in answer.text
